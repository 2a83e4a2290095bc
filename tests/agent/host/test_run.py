import time
from pathlib import Path

import pytest

from lessor.agent.host.run import LIMITS_S, TookTooLong, limit_of, run


def test_a_program_that_hangs_is_ended_at_its_own_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "nft"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setitem(LIMITS_S, "nft", 0.2)
    started = time.monotonic()
    with pytest.raises(TookTooLong, match="nft list: still running after 0.2 s"):
        run(str(hanging), "list")
    assert time.monotonic() - started < 5


def test_a_held_xtables_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = tmp_path / "iptables-restore"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setitem(LIMITS_S, "iptables-restore", 0.2)
    with pytest.raises(TookTooLong, match="another program may hold the xtables lock"):
        run(str(hanging))


@pytest.mark.parametrize("program", ["ovs-ofctl", "nft", "/usr/sbin/iptables-restore", "dnsmasq"])
def test_no_program_holds_up_the_host_for_long(program: str) -> None:
    assert limit_of(program) <= 10
