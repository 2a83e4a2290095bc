from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from lessor.agent.drivers.dnsmasq.hook import HOOK
from lessor.agent.leases.inbox import Inbox
from lessor.agent.leases.spool import Spool

MAC = "fa:16:3e:00:00:01"


class Hook:
    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder / "spool", Inbox(folder / "hook"))
        self.alarm = folder / "alarm"
        self.leases = folder / "leases"
        self.env = {
            "LESSOR_SPOOL": str(self.spool.current),
            "LESSOR_INSTANCE": "br100",
            "LESSOR_LEASES": str(self.leases),
            "LESSOR_ALARM": str(self.alarm),
        }

    def __call__(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HOOK, *args],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


def test_an_event_is_in_the_spool_before_the_hook_ends(hook: Hook) -> None:
    before = time.time()
    env = {"DNSMASQ_LEASE_EXPIRES": "1799", "DNSMASQ_CLIENT_ID": f"01:{MAC}"}
    assert hook("add", MAC, "10.0.0.3", "web", **env).returncode == 0
    (event,) = hook.spool.read()
    assert (event.server, event.action, event.mac_address, str(event.address)) == (
        "br100",
        "add",
        MAC,
        "10.0.0.3",
    )
    assert (event.expires_at, event.hostname, event.client_id) == (1799.0, "web", f"01:{MAC}")
    assert before - 1 < event.at < time.time() + 1


def test_a_hostname_is_not_needed(hook: Hook) -> None:
    hook("del", MAC, "10.0.0.3")
    assert [(e.action, e.hostname) for e in hook.spool.read()] == [("del", "")]


@pytest.mark.parametrize("action", ["arp-add", "tftp", "relay-snoop", "", "future one"])
def test_what_it_does_not_know_is_no_error(hook: Hook, action: str) -> None:
    done = hook(action, MAC, "10.0.0.3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert hook.spool.read() == []


def test_ipv6_is_left_alone(hook: Hook) -> None:
    hook("add", "00:01:00:01", "fd00::5")
    assert hook.spool.read() == []


@pytest.mark.parametrize("hostile", ["a b", "a\nb c", "$(touch x)", "%s%n", "ü", "'", "*", "\\n"])
def test_no_value_breaks_the_line(hook: Hook, hostile: str) -> None:
    hook("add", MAC, "10.0.0.3", hostile, DNSMASQ_CLIENT_ID=hostile, DNSMASQ_LEASE_EXPIRES=hostile)
    hook("old", MAC, "10.0.0.4", "web")
    assert [(e.hostname, e.client_id) for e in hook.spool.read()] == [("", ""), ("web", "")]


def test_init_prints_the_table(hook: Hook) -> None:
    hook.leases.write_text(f"0 {MAC} 10.0.0.3 * *\n")
    done = hook("init")
    assert (done.returncode, done.stdout) == (0, hook.leases.read_text())


def test_init_without_a_table_prints_nothing(hook: Hook) -> None:
    done = hook("init")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_full_disk_raises_the_alarm_and_dhcp_goes_on(hook: Hook) -> None:
    hook.alarm.touch()
    os.utime(hook.alarm, (0, 0))
    hook.spool.current.unlink()
    hook.spool.current.symlink_to("/dev/full")
    done = hook("add", MAC, "10.0.0.3")
    assert done.returncode == 0
    assert "lost a lease event" in done.stderr
    assert hook.alarm.stat().st_mtime > 0


def test_not_even_the_alarm_can_stop_it(hook: Hook) -> None:
    env = {"LESSOR_SPOOL": "/nowhere/current", "LESSOR_ALARM": "/nowhere/alarm"}
    assert hook("add", MAC, "10.0.0.3", **env).returncode == 0


def test_it_costs_no_more_than_three_times_nothing(hook: Hook) -> None:
    def cost(*argv: str) -> float:
        took = []
        for _ in range(60):
            start = time.perf_counter()
            os.waitpid(os.posix_spawn(argv[0], argv, hook.env), 0)
            took.append(time.perf_counter() - start)
        return min(took)

    nothing, event = cost("/bin/true"), cost(str(HOOK), "old", MAC, "10.0.0.3", "web")
    assert event <= 3 * nothing
