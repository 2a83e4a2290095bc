import pytest

from lessor.core.dnsmasq.verdict import BUSY_S, Cause, Symptoms, verdict


@pytest.mark.parametrize(
    ("state", "worked", "waiting", "silent_s", "cause"),
    [
        pytest.param("T, stopped", False, 0, 2, Cause.STOPPED, id="stopped"),
        pytest.param("t, stopped by a debugger", True, 900, 2, Cause.STOPPED, id="debugger"),
        pytest.param("S, sleeps", False, 900, 2, Cause.HUNG, id="does-not-read"),
        pytest.param("D, waits for a disk", False, 900, 2, Cause.HUNG, id="disk"),
        pytest.param("S, sleeps", False, 0, 2, Cause.SILENT, id="nothing-arrives"),
        pytest.param("R, runs", True, 900, 2, None, id="reload"),
        pytest.param("R, runs", True, 900, 6, Cause.BUSY, id="long-reload"),
        pytest.param("R, runs", True, 900, BUSY_S, Cause.HUNG, id="endless-loop"),
    ],
)
def test_a_silent_server_is_judged_by_what_its_process_does(
    state: str, worked: bool, waiting: int, silent_s: float, cause: Cause | None
) -> None:
    found = verdict(Symptoms(state, worked, waiting, silent_s))
    assert (found and found[0]) == cause


def test_a_verdict_says_what_was_seen() -> None:
    found = verdict(Symptoms("T, stopped", worked=False, waiting=1280, silent_s=2.25))
    assert found
    assert found[1] == ("no answer for 2.2 s (state T, stopped, 1280 bytes wait in its sockets)")
