import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from lessor.agent.follow import Follower, accept
from lessor.agent.viewstore import ViewStore
from lessor.errors import Unavailable
from lessor.model import Network, Port, ScopeChange, ViewAnswer, ViewRequest


class Server:
    """Answers what was put in line, then waits for ever."""

    def __init__(self, *answers: ViewAnswer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[ViewRequest] = []

    async def view(self, request: ViewRequest) -> ViewAnswer:
        self.asked.append(request)
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def whole(epoch: str, *keys: str) -> ViewAnswer:
    ports = tuple(Port(id=k, network_id="n", mac_address="fa:16:3e:00:00:01") for k in keys)
    change = ScopeChange(whole=True, network=Network(id="n"), ports=ports)
    return ViewAnswer(epoch=epoch, revision=7, scopes={"n": change})


def follow(server: Server, folder: Path, **listeners: Callable[..., None]) -> Follower:
    """Run a follower until the server has nothing more to say."""
    follower = Follower(server, ViewStore(folder))
    for name, listener in listeners.items():
        setattr(follower, name, listener)

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
    return set(follower.kept.view.scopes["n"].ports) if follower.kept else set()


def test_the_first_question_of_a_run_does_not_wait(tmp_path: Path) -> None:
    server = Server(whole("e", "a"), ViewAnswer(epoch="e", revision=7))
    follow(server, tmp_path)
    assert [request.wait_s > 0 for request in server.asked][:2] == [False, True]
    assert server.asked[1].cursors == {"n": 7}


def test_server_away_leaves_the_view_of_the_disk_in_place(tmp_path: Path) -> None:
    follow(Server(whole("e", "a")), tmp_path)
    follower = follow(Server(Unavailable("no answer")), tmp_path)
    assert (ports(follower), follower.in_sync, follower.problem) == ({"a"}, False, "no answer")


def test_without_any_view_there_is_none(tmp_path: Path) -> None:
    assert follow(Server(Unavailable("no answer")), tmp_path).kept is None


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
    follower = Follower(Server(whole("f"), whole("f")), ViewStore(tmp_path))

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
    assert server.asked[1].tours == ("t",)
