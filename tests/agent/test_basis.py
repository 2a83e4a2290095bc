import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lessor.agent import presence
from lessor.agent.basis import Basis, basis, located
from lessor.agent.host.run import run
from lessor.agent.noted import note
from lessor.agent.presence import Presence
from lessor.agent.server.owner import Owner
from lessor.agent.server.viewstore import StoredView, ViewStore
from lessor.config.load import load_agent
from lessor.errors import NotFound
from lessor.model import View
from lessor.settings import AgentSettings
from tests.agent.drivers.conftest import _own_namespace

NOW = 100_000.0
HERE = "/var/lib/lessor"


def known(agent: Presence | None) -> Basis:
    return Basis(state_dir=HERE, revision=7, changed_at=NOW - 720, agent=agent)


def agent(**values: object) -> Presence:
    known: dict[str, object] = {"pid": 9, "state_dir": HERE, "answered_at": NOW - 3}
    return Presence(**known | values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("running", "words", "stored"),
    [
        pytest.param(
            agent(in_sync=True), "in sync with the server 3 s ago; agent: pid 9", True, id="in-sync"
        ),
        pytest.param(
            agent(problem="no server answers"),
            "last changed 12 min ago; agent: pid 9, not in sync: no server answers",
            True,
            id="server-away",
        ),
        pytest.param(
            None,
            "last changed 12 min ago; no agent runs here, so it may be old",
            False,
            id="no-agent",
        ),
        pytest.param(
            agent(state_dir=""),
            "last changed 12 min ago; agent: pid 9, which does not answer",
            True,
            id="hangs",
        ),
        pytest.param(
            agent(state_dir="/elsewhere"),
            "last changed 12 min ago; agent: pid 9 runs with /elsewhere, not with this folder",
            False,
            id="another-folder",
        ),
    ],
)
def test_a_look_says_how_old_its_view_is_and_whether_an_agent_runs(
    running: Presence | None, words: str, *, stored: bool
) -> None:
    made = known(running)
    assert made.words(NOW) == f"by the view of revision 7 in {HERE}, {words}"
    assert made.is_kept is stored


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[AgentSettings]:
    if os.geteuid() != 0:
        pytest.skip("makes a network namespace")
    with _own_namespace():
        yield load_agent([Path(os.devnull)], {"state_dir": tmp_path / "usual"})


def test_the_folder_of_the_agent_that_ran_here_last_is_found(
    settings: AgentSettings, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    ViewStore(served / "agent").save(StoredView(view=View(epoch="e"), revision=3))
    assert located(settings, chosen=False).state_dir == settings.state_dir
    Owner(run, served).keep("e")
    assert located(settings, chosen=True).state_dir == settings.state_dir
    found = located(settings, chosen=False)
    assert (found.state_dir, found.networks_path) == (served, served / "networks")
    assert (basis(found)[0].revision, basis(found)[0].agent) == (3, None)


def test_settings_are_those_that_the_agent_ran_with_unless_others_are_given(
    settings: AgentSettings, tmp_path: Path
) -> None:
    served = replace(settings, state_dir=tmp_path / "served", gateway_firewall="iptables")
    (served.state_dir / "agent").mkdir(parents=True)
    note(served.state_dir / "agent", served)
    Owner(run, served.state_dir).keep("e")
    assert located(settings, chosen=False) == served
    own = located(settings, chosen=False, own=True)
    assert (own.state_dir, own.gateway_firewall) == (served.state_dir, "nftables")
    elsewhere = replace(settings, state_dir=served.state_dir)
    assert located(elsewhere, chosen=True) == served


def test_a_copy_of_another_folder_has_no_settings_of_its_agent(
    settings: AgentSettings, tmp_path: Path
) -> None:
    (settings.state_dir / "agent").mkdir(parents=True)
    note(settings.state_dir / "agent", replace(settings, state_dir=tmp_path / "former", host="h9"))
    assert located(settings, chosen=True) == settings


def test_a_folder_without_a_view_is_named_with_the_agent_that_runs(
    settings: AgentSettings,
) -> None:
    with pytest.raises(NotFound, match="no agent has had a view in .*/usual/agent$"):
        basis(settings)
    taken = presence.claim()
    with pytest.raises(NotFound, match=f"; one runs with .*, pid {os.getpid()}"):
        basis(settings)
    assert taken is not None
    taken.close()
