import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from lessor.agent import presence
from lessor.agent.presence import Presence
from lessor.errors import Conflict
from lessor.wire import decode
from tests.agent.drivers.conftest import _own_namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
ME = Presence(pid=os.getpid(), host="h1", state_dir="/var/lib/lessor", revision=7, in_sync=True)


@pytest.fixture(autouse=True)
def own_netns() -> Iterator[None]:
    with _own_namespace():
        yield


def test_nobody_is_there_at_first() -> None:
    assert presence.find() is None


def test_an_agent_says_who_it_is() -> None:
    taken = presence.claim()
    assert taken is not None

    async def main() -> Presence | None:
        telling = asyncio.create_task(presence.answer(taken, lambda: ME))
        asking = socket.socket(socket.AF_UNIX)  # in this thread: namespaces are a thread's
        asking.setblocking(False)
        await asyncio.get_running_loop().sock_connect(asking, presence.NAME)
        received = await asyncio.get_running_loop().sock_recv(asking, 1 << 16)
        asking.close()
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        return decode(received, Presence)

    assert asyncio.run(main()) == ME


def test_two_agents_on_one_host_are_refused_whatever_their_folders() -> None:
    """Also where the first one hangs: its pid is known without its answer."""
    taken = presence.claim()
    with pytest.raises(Conflict, match=f"another agent runs on this host: pid {os.getpid()}"):
        presence.claim()
    assert taken is not None
    taken.close()
    again = presence.claim()
    assert again is not None
    again.close()


def test_each_network_namespace_has_its_own() -> None:
    taken = presence.claim()
    with _own_namespace():
        other = presence.claim()
        assert other is not None
        other.close()
    assert taken is not None
    taken.close()
