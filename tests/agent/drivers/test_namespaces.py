import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from lessor.agent.drivers.namespaces import PREFIX, NamespaceDriver
from lessor.agent.host.run import run
from lessor.core.diff import Changes, Unsound, diff
from lessor.core.state import Namespace
from lessor.netns import FOLDER, inside
from tests.agent.drivers.frames import icmp_about, ipv4

pytestmark = pytest.mark.lab

OWN = f"{PREFIX}t{os.getpid()}-"  # of this test; there may be others on the machine
A, B = (Namespace(f"{OWN}{letter}") for letter in "ab")


class Driver(NamespaceDriver):
    """Sees the namespaces of this test only."""

    def observe(self) -> dict[str, Namespace | Unsound[Namespace]]:
        return {name: one for name, one in super().observe().items() if name.startswith(OWN)}


@pytest.fixture(autouse=True)
def cleaned() -> Iterator[None]:
    yield
    for file in FOLDER.glob(f"{OWN}*"):
        subprocess.run(["ip", "netns", "del", file.name], check=True)


def bring(driver: NamespaceDriver, *wanted: Namespace) -> Changes[Namespace]:
    changes = diff({one.name: one for one in wanted}, driver.observe())
    driver.apply(changes)
    return changes


def within(one: Namespace, command: str) -> str:
    argv = ["ip", "netns", "exec", one.name, "sh", "-c", command]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_namespaces_are_made_once_and_set_up() -> None:
    driver = Driver(run)
    assert bring(driver, A, B).create == (A, B)
    assert not bring(driver, A, B)
    assert not bring(Driver(run), A, B)
    assert "LOOPBACK,UP" in within(A, "ip link show lo")
    assert within(A, "cat /proc/sys/net/ipv6/conf/*/accept_ra").split()[:2] == ["0", "0"]
    assert bring(driver, B).delete == (A,)
    assert not bring(driver, B)
    assert not (FOLDER / A.name).exists()


def test_a_namespace_believes_no_path_mtu_that_anybody_can_make_up() -> None:
    """By an error about an echo reply, which is of no flow that the kernel knows."""
    bring(Driver(run), A)
    within(A, "ip addr add 10.7.0.2/24 dev lo; ip route add 10.8.0.0/24 dev lo")
    assert not believes(A, 552)
    within(A, "echo 0 >/proc/sys/net/ipv4/ip_no_pmtu_disc")
    assert believes(A, 552)


def believes(one: Namespace, mtu: int) -> bool:
    reply = ipv4(("10.7.0.2", "10.8.0.5"), 1, bytes(16))
    with inside(one.name), socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as sender:
        sender.sendto(icmp_about(reply, (3, 4), mtu=mtu), ("10.7.0.2", 0))
    return f"mtu {mtu}" in within(one, "ip route get 10.8.0.5")


@pytest.mark.parametrize(
    "drift",
    [
        "ip link set lo down",
        "echo 1 >/proc/sys/net/ipv6/conf/default/accept_ra",
        "echo 0 >/proc/sys/net/ipv4/ip_no_pmtu_disc",
    ],
)
def test_drift_is_set_right(drift: str) -> None:
    driver = Driver(run)
    bring(driver, A)
    within(A, drift)
    assert bring(driver, A)
    assert not bring(driver, A)
    within(A, drift)
    bring(driver)
    assert not bring(driver)
    assert not (FOLDER / A.name).exists()


def test_a_name_without_a_namespace_behind_it_is_made_anew() -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / A.name).touch()
    driver = Driver(run)
    assert bring(driver, A, B)
    assert not bring(driver, A, B)
    (FOLDER / f"{OWN}stale").touch()
    assert bring(driver, A, B).delete
    assert not bring(driver, A, B)


def test_other_namespaces_are_not_seen() -> None:
    other = f"not{OWN}"
    subprocess.run(["ip", "netns", "add", other], check=True)
    try:
        assert other not in NamespaceDriver(run).observe()
    finally:
        subprocess.run(["ip", "netns", "del", other], check=True)


def test_one_that_can_not_be_made_holds_up_no_other() -> None:
    bad = Namespace(f"{OWN}none/xxx")
    driver = Driver(run)
    with pytest.raises(ExceptionGroup) as caught:
        bring(driver, A, bad, B)
    assert caught.group_contains(Exception, match="xxx")
    assert not bring(driver, A, B)


@pytest.mark.parametrize("after", [True, False], ids=["done", "not-done"])
def test_killed_around_ip_the_next_agent_goes_on(after: bool) -> None:
    def dying(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        if after:
            run(*argv, stdin=stdin, timeout_s=timeout_s)
        raise KeyboardInterrupt

    for wanted in ((A, B), (B,), ()):
        with pytest.raises(KeyboardInterrupt):
            bring(Driver(dying), *wanted)
        bring(Driver(run), *wanted)
        assert not bring(Driver(run), *wanted)


def test_one_process_makes_them_all() -> None:
    calls: list[str] = []

    def counting(*argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        calls.append(" ".join(argv))
        return run(*argv, stdin=stdin, timeout_s=timeout_s)

    driver = Driver(counting)
    bring(driver, A, B)
    bring(driver)
    assert len(calls) == 2
