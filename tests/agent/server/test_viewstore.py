from pathlib import Path

import pytest

from lessor.agent.server.viewstore import StoredView, ViewStore
from lessor.errors import Invalid
from lessor.model import Network, Port, ScopeChange, View, ViewAnswer

WHOLE = ViewAnswer(
    epoch="e", revision=1, scopes={"n": ScopeChange(whole=True, network=Network(id="n"))}
)


def with_port(revision: int, key: str) -> ViewAnswer:
    port = Port(id=key, network_id="n", mac_address="fa:16:3e:00:00:01")
    change = ScopeChange(whole=False, ports=(port,))
    return ViewAnswer(epoch="e", revision=revision, scopes={"n": change})


def fill(store: ViewStore, *answers: ViewAnswer) -> StoredView:
    stored = StoredView(view=View())
    for answer in answers:
        stored = stored.after(answer)
        store.append(answer, stored)
    return stored


def test_nothing_was_kept_at_first(tmp_path: Path) -> None:
    assert ViewStore(tmp_path).load() is None


def test_what_was_appended_is_loaded(tmp_path: Path) -> None:
    stored = fill(ViewStore(tmp_path), WHOLE, with_port(2, "a"), with_port(3, "b"))
    assert ViewStore(tmp_path).load() == stored
    assert set(stored.view.scopes["n"].ports) == {"a", "b"}


def test_a_torn_last_line_is_an_answer_that_was_not_acted_upon(tmp_path: Path) -> None:
    fill(ViewStore(tmp_path), WHOLE, with_port(2, "a"))
    with (tmp_path / "view.log").open("ab") as log:
        log.write(b'{"epoch": "e", "revi')
    loaded = ViewStore(tmp_path).load()
    assert loaded and set(loaded.view.scopes["n"].ports) == {"a"}


def test_a_crash_between_the_whole_and_the_log_changes_nothing(tmp_path: Path) -> None:
    store = ViewStore(tmp_path)
    stored = fill(store, WHOLE, with_port(2, "a"), with_port(3, "b"))
    log = (tmp_path / "view.log").read_bytes()
    store.save(stored)
    (tmp_path / "view.log").write_bytes(log)
    assert ViewStore(tmp_path).load() == stored


def test_the_log_is_folded_into_the_whole_before_it_outgrows_it(tmp_path: Path) -> None:
    store = ViewStore(tmp_path)
    stored, log, sizes = StoredView(view=View()), tmp_path / "view.log", []
    for number in range(1000):
        answer = WHOLE if number == 0 else with_port(number, "a")
        stored = stored.after(answer)
        store.append(answer, stored)
        sizes.append(log.stat().st_size if log.exists() else 0)
    assert max(sizes) < 80_000
    assert sizes.count(0) > 1
    assert store.load() == stored


def test_a_damaged_whole_is_said_and_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "view.json").write_bytes(b"{")
    with pytest.raises(Invalid, match="view.json is damaged"):
        ViewStore(tmp_path).load()


def test_the_revision_of_the_last_answer_is_kept_with_the_view(tmp_path: Path) -> None:
    store = ViewStore(tmp_path)
    fill(store, WHOLE, ViewAnswer(epoch="e", revision=4, left=("n",)))
    stored = ViewStore(tmp_path).load()
    assert stored and (stored.revision, stored.view.scopes) == (4, {})
