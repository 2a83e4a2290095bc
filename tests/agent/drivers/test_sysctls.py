from pathlib import Path

import pytest

from lessor.agent.drivers.sysctls import SysctlDriver
from lessor.core.diff import Changes, diff
from lessor.core.state import Sysctl
from lessor.errors import LessorError

FORWARD = "net.ipv4.ip_forward"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "net/ipv4/conf/eth0.100").mkdir(parents=True)
    (tmp_path / "net/ipv4/ip_forward").write_text("0\n")
    (tmp_path / "net/ipv4/ip_local_port_range").write_text("32768\t60999\n")
    (tmp_path / "net/ipv4/conf/eth0.100/rp_filter").write_text("1\n")
    return tmp_path


def test_only_the_named_settings_are_seen(root: Path) -> None:
    assert SysctlDriver([FORWARD], root).observe() == {FORWARD: Sysctl(FORWARD, "0")}


def test_tabs_between_values_count_as_spaces(root: Path) -> None:
    name = "net.ipv4.ip_local_port_range"
    assert SysctlDriver([name], root).observe()[name].value == "32768 60999"


def test_second_pass_is_empty(root: Path) -> None:
    driver = SysctlDriver([FORWARD], root)
    wanted = {FORWARD: Sysctl(FORWARD, "1")}
    driver.apply(diff(wanted, driver.observe()))
    assert not diff(wanted, driver.observe())


def test_a_device_with_a_dot_in_its_name(root: Path) -> None:
    name = "net.ipv4.conf.eth0/100.rp_filter"
    SysctlDriver([name], root).apply(Changes(create=(Sysctl(name, "2"),)))
    assert (root / "net/ipv4/conf/eth0.100/rp_filter").read_text() == "2\n"


def test_a_deletion_leaves_the_setting(root: Path) -> None:
    SysctlDriver([FORWARD], root).apply(Changes(delete=(Sysctl(FORWARD, "0"),)))
    assert (root / "net/ipv4/ip_forward").read_text() == "0\n"


def test_one_that_fails_holds_up_no_other_and_is_named(root: Path) -> None:
    missing = Sysctl("net.nope.really", "1")
    driver = SysctlDriver([FORWARD, missing.name], root)
    with pytest.raises(ExceptionGroup) as caught:
        driver.apply(Changes(create=(missing, Sysctl(FORWARD, "1"))))
    assert caught.group_contains(LessorError, match=r"net\.nope\.really=1")
    assert driver.observe() == {FORWARD: Sysctl(FORWARD, "1")}
