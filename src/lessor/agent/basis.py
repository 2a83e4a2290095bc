"""The stored view that a command on this host goes by: its agent, revision and age."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lessor.agent import presence
from lessor.agent.host.run import run
from lessor.agent.noted import noted
from lessor.agent.presence import Presence
from lessor.agent.server.owner import Owner
from lessor.agent.server.viewstore import StoredView, ViewStore
from lessor.errors import NotFound
from lessor.settings import AgentSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """The view on disk, and the agent that runs here. Times: seconds since 1970."""

    state_dir: str
    revision: int
    changed_at: float  # when the last change was written
    agent: Presence | None  # None: none runs in this network namespace

    @property
    def is_kept(self) -> bool:
        """Whether the running agent is the one that keeps this view up to date."""
        return self.agent is not None and self.agent.state_dir in {"", self.state_dir}

    def words(self, now: float) -> str:
        """Return it in one line."""
        view = f"by the view of revision {self.revision} in {self.state_dir}"
        changed = f"last changed {_age(now - self.changed_at)} ago"
        if self.agent is None:
            return f"{view}, {changed}; no agent runs here, so it may be old"
        who = f"agent: pid {self.agent.pid}"
        if not self.is_kept:
            return (
                f"{view}, {changed}; {who} runs with {self.agent.state_dir}, not with this folder"
            )
        if not self.agent.state_dir:
            return f"{view}, {changed}; {who}, which does not answer"
        if self.agent.in_sync:
            heard = _age(now - self.agent.answered_at)
            return f"{view}, in sync with the server {heard} ago; {who}"
        why = self.agent.problem or "not in sync"
        return f"{view}, {changed}; {who}, not in sync: {why}"


def _age(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def located(settings: AgentSettings, *, chosen: bool, own: bool = False) -> AgentSettings:
    """Return the settings of this host's agent: of the one that runs here, or ran last.

    Args:
        settings: of the command.
        chosen: its `state_dir` was given on the command line.
        own: so were other settings or a file; they count, with the agent's state folder.
    """
    found = settings if chosen else _with_the_folder(settings)
    running = None if own else noted(found.state_dir / "agent")
    return running if running and running.state_dir == found.state_dir else found


def _with_the_folder(settings: AgentSettings) -> AgentSettings:
    running = presence.find()
    mark = Owner(run, settings.state_dir).read()
    found = (running.state_dir if running else "") or (mark.folder if mark else "")
    if not found or not (Path(found) / "agent").is_dir():
        return settings
    return replace(
        settings,
        state_dir=Path(found),
        networks_path=_moved(settings.networks_path, settings.state_dir, Path(found)),
        token_file=_moved(settings.token_file, settings.state_dir, Path(found)),
    )


def _moved(path: Path, former: Path, now: Path) -> Path:
    return now / path.relative_to(former) if path.is_relative_to(former) else path


def basis(settings: AgentSettings) -> tuple[Basis, StoredView]:
    """Return the stored view of a state folder, and its agent.

    Raises:
        NotFound: none has had a view there; it says where one runs.
    """
    place = settings.state_dir / "agent"
    stored = ViewStore(place).load() if place.is_dir() else None
    running = presence.find()
    if stored is None:
        other = f"; one runs with {running.state_dir}, pid {running.pid}" if running else ""
        raise NotFound(f"no agent has had a view in {place}{other}")
    files = [place / name for name in ("view.json", "view.log")]
    changed_at = max(file.stat().st_mtime for file in files if file.exists())
    known = Basis(
        state_dir=str(settings.state_dir),
        revision=stored.revision,
        changed_at=changed_at,
        agent=running,
    )
    return known, stored
