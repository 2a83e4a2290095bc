"""The settings that the agent of a state folder runs with, for commands on its host.

A command such as `lessor agent plan` reads settings files. The agent may run with others: options
of its unit, a file that was changed since.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lessor.agent.host.atomic import atomic_write
from lessor.errors import Invalid
from lessor.settings import AgentSettings
from lessor.wire import decode, encode

FILE = "settings.json"


def note(folder: Path, settings: AgentSettings) -> None:
    """Keep an agent's settings, without the secret, which no such command needs.

    Without room nothing is kept, rather than the settings of an earlier run.
    """
    file = folder / FILE
    try:
        content = encode(replace(settings, metadata_proxy_shared_secret=""))
        atomic_write(file, content, durable=True)
    except OSError:
        with suppress(OSError):
            file.unlink()


def noted(folder: Path) -> AgentSettings | None:
    """Return the settings of the agent that runs with this folder, or ran last; None: unknown."""
    with suppress(OSError, Invalid):
        return decode((folder / FILE).read_bytes(), AgentSettings)
    return None
