from __future__ import annotations

from lessor.agent.server.servers import Servers


def servers() -> tuple[Servers, list[str]]:
    made, moves = Servers(["http://a/", "http://b", "http://c", "http://a"]), list[str]()
    made.changed.subscribe(lambda: moves.append(made.current))
    return made, moves


def test_each_is_tried_once_from_the_present_one_on() -> None:
    made, _ = servers()
    assert made.order() == ("http://a", "http://b", "http://c")
    made.answered("http://b", {"http://a"})
    assert made.order() == ("http://b", "http://c", "http://a")


def test_whoever_heard_late_of_a_former_one_changes_nothing() -> None:
    made, moves = servers()
    made.answered("http://b", {"http://a"})
    made.answered("http://a", ())
    made.answered("http://c", {"http://a"})
    assert (made.current, moves) == ("http://b", ["http://b"])


def test_one_alone_is_no_choice() -> None:
    assert not Servers(["http://a", "http://a/"]).several
