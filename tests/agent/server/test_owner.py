import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessor.agent.host.run import run
from lessor.agent.server.owner import Guard, Mark, Owner
from lessor.agent.server.viewstore import StoredView
from lessor.errors import Conflict
from lessor.model import Port, ScopeChange, View, ViewAnswer
from tests.agent.drivers.conftest import _own_namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
FOLDER = Path("/var/lib/lessor")


@pytest.fixture(autouse=True)
def own_netns() -> Iterator[None]:
    with _own_namespace():
        yield


def answer(epoch: str, *ports: str) -> ViewAnswer:
    made = tuple(Port(id=p, network_id="n", mac_address="fa:16:3e:00:00:01") for p in ports)
    return ViewAnswer(epoch=epoch, revision=1, scopes={"n": ScopeChange(whole=True, ports=made)})


def tap(port_id: str) -> None:
    name = f"tap{port_id}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", name, "alias", f"lessor:{port_id}:managed"], check=True)


def test_the_mark_is_seen_by_all_agents_of_the_host_and_taken_away() -> None:
    owner = Owner(run, FOLDER)
    assert owner.read() is None
    for epoch in ("e", "e", "f"):
        owner.keep(epoch)
    assert Owner(run, Path("/elsewhere")).read() == Mark("f", str(FOLDER))
    owner.keep("")
    assert owner.read() is None


def test_a_mark_that_was_flushed_is_back_at_the_next_full_look() -> None:
    guard = Guard(Owner(run, FOLDER))
    guard.keep("e")
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    guard.keep("e")
    assert Owner(run, FOLDER).read() is None
    guard.keep("e", look=True)
    assert Owner(run, FOLDER).read() == Mark("e", str(FOLDER))
    guard.keep("")
    assert Owner(run, FOLDER).read() is None


def test_a_long_folder_fits_into_the_mark() -> None:
    Owner(run, Path("/" + "x" * 300)).keep("e")
    mark = Owner(run, FOLDER).read()
    assert mark is not None
    assert mark.epoch == "e"


def test_a_host_that_serves_one_store_is_not_taken_by_another() -> None:
    Owner(run, FOLDER).keep("e")
    tap("a")
    guard = Guard(Owner(run, Path("/tmp/other")))
    with pytest.raises(Conflict) as caught:
        guard.check(answer("f", "a"))
    said = str(caught.value)
    assert said.startswith("this host serves another store e (1 port here, its agent has state_dir")
    assert "lessor agent accept --state-dir /tmp/other" in said
    guard.check(answer("e"))  # a fresh folder with the same store: from `lessor up` to services
    assert guard.knows(StoredView(view=View(epoch="e")))
    assert not guard.knows(StoredView(view=View(epoch="f")))  # left behind by an earlier life


def test_an_agent_without_a_view_takes_no_taps_that_its_store_does_not_know() -> None:
    """An agent of a version without marks made them."""
    tap("a")
    guard = Guard(Owner(run, FOLDER))
    guard.check(answer("e", "a", "b"))
    with pytest.raises(Conflict, match=r"another store \(1 port here\): nothing was changed"):
        guard.check(answer("e", "b"))
    assert guard.knows(StoredView(view=View(epoch="e")))
