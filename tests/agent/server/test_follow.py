import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lessor.agent.server.follow import Follower, accept
from lessor.agent.server.viewstore import ViewStore
from lessor.errors import Unavailable
from lessor.model import Network, Port, ScopeChange, View, ViewAnswer, ViewRequest

Meet = Callable[[str, View], Awaitable[None]]


class Server:
    """Answers what was put in line, then waits for ever."""

    def __init__(self, *answers: ViewAnswer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[ViewRequest] = []
        self.told: list[tuple[str, View]] = []

    async def view(self, request: ViewRequest) -> ViewAnswer:
        self.asked.append(request)
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.last = answer
        return answer

    async def meet(self, epoch: str, view: View) -> None:
        """Take what is in use on a host; it will ask again."""
        self.told.append((epoch, view))
        self.answers.insert(0, self.last)


def whole(epoch: str, *keys: str) -> ViewAnswer:
    ports = tuple(Port(id=k, network_id="n", mac_address="fa:16:3e:00:00:01") for k in keys)
    change = ScopeChange(whole=True, network=Network(id="n"), ports=ports)
    return ViewAnswer(epoch=epoch, revision=7, scopes={"n": change})


def follow(
    server: Server, folder: Path, meet: Meet | None = None, **listeners: Callable[..., Any]
) -> Follower:
    """Run a follower until the server has nothing more to say; listeners by the signal's name."""
    follower = Follower(server, ViewStore(folder), meet=meet or server.meet)
    for name, listener in listeners.items():
        getattr(follower, name).subscribe(listener)

    async def main() -> None:
        task = asyncio.create_task(follower.run())
        async with asyncio.timeout(30):
            while server.answers:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    return follower


def ports(follower: Follower) -> set[str]:
    return set(follower.stored.view.scopes["n"].ports) if follower.stored else set()


def test_the_first_question_of_a_run_does_not_wait(tmp_path: Path) -> None:
    server = Server(whole("e", "a"), ViewAnswer(epoch="e", revision=7))
    follow(server, tmp_path)
    assert [request.wait_s > 0 for request in server.asked][:3] == [False, False, True]
    assert server.asked[2].cursors == {"n": 7}


def test_server_away_leaves_the_view_of_the_disk_in_place(tmp_path: Path) -> None:
    follow(Server(whole("e", "a")), tmp_path)
    follower = follow(Server(Unavailable("no answer")), tmp_path)
    assert (ports(follower), follower.in_sync, follower.problem) == ({"a"}, False, "no answer")


def test_without_any_view_there_is_none(tmp_path: Path) -> None:
    assert follow(Server(Unavailable("no answer")), tmp_path).stored is None


@pytest.mark.parametrize(("left", "taken"), [("ab", True), ("a", True), ("", False)])
def test_a_store_that_would_take_most_away_waits_for_a_word(
    tmp_path: Path, left: str, taken: bool
) -> None:
    follow(Server(whole("e", "a", "b")), tmp_path)
    follower = follow(Server(whole("f", *left)), tmp_path)
    assert ports(follower) == (set(left) if taken else {"a", "b"})
    assert ("lessor agent accept" in follower.problem) is not taken


def test_the_word_is_for_the_store_that_was_offered(tmp_path: Path) -> None:
    follow(Server(whole("e", "a", "b")), tmp_path)
    follow(Server(whole("f")), tmp_path)
    assert accept(tmp_path) == "f"
    assert ports(follow(Server(whole("g")), tmp_path)) == {"a", "b"}
    assert ports(follow(Server(whole("f")), tmp_path)) == set()


def test_once_a_store_is_followed_there_is_nothing_to_accept(tmp_path: Path) -> None:
    assert accept(tmp_path) is None
    follow(Server(whole("e", "a", "b")), tmp_path)
    follow(Server(whole("f")), tmp_path)
    accept(tmp_path)
    follow(Server(whole("f")), tmp_path)
    assert accept(tmp_path) is None


def test_an_accepted_store_is_taken_soon(tmp_path: Path) -> None:
    follow(Server(whole("e", "a", "b")), tmp_path)
    server = Server(whole("f"), whole("f"))
    follower = Follower(server, ViewStore(tmp_path), meet=server.meet)

    async def main() -> None:
        task = asyncio.create_task(follower.run())
        async with asyncio.timeout(30):
            while accept(tmp_path) is None:
                await asyncio.sleep(0.01)
            while ports(follower):
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_ports_of_a_network_that_comes_whole_again_are_renewed_once(tmp_path: Path) -> None:
    renewed: list[str] = []
    answer = whole("e", "a", "b")
    follow(Server(answer, answer), tmp_path, renewed=renewed.extend)
    assert renewed == ["a", "b"]


def test_a_tour_is_passed_on_and_named_in_the_next_request(tmp_path: Path) -> None:
    server = Server(ViewAnswer(epoch="e", revision=1, tours={"t": "n"}))
    asked: list[tuple[str, str]] = []
    follow(server, tmp_path, asked=lambda tour_id, network_id: asked.append((tour_id, network_id)))
    assert asked == [("t", "n")]
    assert server.asked[2].tours == ("t",)


def test_what_is_in_use_is_told_before_a_view_of_another_store_is_taken(tmp_path: Path) -> None:
    follow(Server(whole("e", "a", "b")), tmp_path)
    server = Server(whole("f", "a", "b"), ViewAnswer(epoch="f", revision=8))
    follower = follow(server, tmp_path)
    assert [(epoch, view.epoch, set(view.scopes["n"].ports)) for epoch, view in server.told] == [
        ("f", "e", {"a", "b"})
    ]
    assert [request.epoch for request in server.asked][:3] == ["e", "e", "f"]
    assert follower.stored is not None
    assert follower.stored.view.epoch == "f"


def test_a_view_is_not_taken_as_long_as_the_server_is_not_told(tmp_path: Path) -> None:
    follow(Server(whole("e", "a")), tmp_path)

    async def away(_epoch: str, _view: View) -> None:
        raise Unavailable("no answer")

    follower = follow(Server(whole("f", "a")), tmp_path, meet=away)
    assert follower.stored is not None
    assert (follower.stored.view.epoch, follower.problem) == ("e", "no answer")


def test_the_position_of_the_last_answer_is_shown_with_the_next_question(tmp_path: Path) -> None:
    answers = [ViewAnswer(epoch="e", revision=n, position=f"at {n}") for n in (7, 8)]
    server = Server(*answers)
    follow(server, tmp_path)
    assert [request.position for request in server.asked] == ["", "", "at 7", "at 8"]
    again = Server(ViewAnswer(epoch="e", revision=9))
    follow(again, tmp_path)
    assert again.asked[0].position == "at 7"  # what changed nothing here is not written to the disk
