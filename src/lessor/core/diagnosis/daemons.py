"""Problems of a daemon of Open vSwitch."""

from __future__ import annotations

# proc(5); others (R, S) are daemons that do something else than to answer
_STATES = {"T": "stopped", "t": "traced", "D": "waits for the kernel", "Z": "ended"}
_UNTIL = "until it answers nothing of this host's overlay networks can be changed"


def hangs(name: str, pid: int, state: str) -> str:
    """Say that a daemon runs and does not answer.

    Args:
        name: of the program.
        pid: of its process; 0: not known.
        state: of its process as proc(5) has it; "": not known.
    """
    meaning = f" ({_STATES[state]})" if state in _STATES else ""
    process = f" (pid {pid}, state {state}{meaning})" if pid and state else ""
    go_on = f"kill -CONT {pid}, or " if state == "T" and pid else ""
    return f"{name} hangs{process}; {_UNTIL}: {go_on}restart openvswitch-switch"


def not_running(name: str) -> str:
    """Say that a daemon does not run."""
    return f"{name} is not running; {_UNTIL}: start openvswitch-switch"
