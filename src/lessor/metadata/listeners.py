"""Manages the metadata listeners, one socket for each interface.

The sockets belong to the agent and end with it, so nothing on the host goes stale and no mark is
needed. The agent accepts connections; a process without rights serves them (`process`). Each socket
is bound to its interface (SO_BINDTODEVICE), so the kernel tells the network of a request, and two
bridges may have equal addresses. A socket stays in the network namespace where it was created, so
one process serves all namespaces of the host.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from lessor.core.diff import Changes
from lessor.core.state import MetadataListener
from lessor.errors import Conflict, LessorError, Pending
from lessor.metadata.client_address import Callers, EthernetCallers, keep_first_packets
from lessor.metadata.door import Door
from lessor.metadata.port_lookup import Ports
from lessor.metadata.process import GuestProcess
from lessor.metadata.reception import Reception
from lessor.model import METADATA_ADDRESS
from lessor.netns import Identity, identity, inside
from lessor.steps import each

ANYWHERE = "0.0.0.0"  # noqa: S104 - any destination address, but on one interface
BACKLOG = 256  # maximum connections waiting to be accepted
CALL_S = 15.0  # timeout of a call from the reconciling thread to the loop
RETRY_S = 5.0


# the namespace, unless it is our own, and the interface's index there: a recreated interface has
# another index
Place = tuple[Identity | None, int]


@dataclass(slots=True)
class _Open:
    listener: MetadataListener
    place: Place
    door: Door
    reception: Reception


class MetadataListeners:
    """The driver. The reconciling thread calls it; the servers run in `loop`.

    Args:
        process: serves the connections of all listeners; the first listener starts it.
        loop: the agent's, running in another thread than the caller's.
        ports: of the last view.
        callers: makes the `Callers` of an interface, by name, in a namespace; OSError: no such one.
    """

    def __init__(
        self,
        process: GuestProcess,
        loop: asyncio.AbstractEventLoop,
        ports: Ports,
        callers: Callable[[str, str], Callers] = EthernetCallers,
    ) -> None:
        self._process = process
        self._loop = loop
        self._ports = ports
        self._callers = callers
        self._open: dict[str, _Open] = {}

    def observe(self) -> dict[str, MetadataListener]:
        """Return the listeners by interface, without those whose interface was recreated."""
        return {key: held.listener for key, held in list(self._open.items()) if _is_alive(held)}

    def apply(self, changes: Changes[MetadataListener]) -> None:
        """Open, change and close listeners.

        Raises:
            ExceptionGroup: one error for each listener: `Pending` (no such interface yet),
                `Conflict` (the port is in use) or others.
        """
        steps = [partial(self._release, listener) for listener in changes.delete]
        steps += [partial(self._ensure, one) for one in changes.create + changes.replace]
        each(steps, "metadata listeners")

    def close(self) -> None:
        """Close all listeners and the guest process, at the end of the agent."""
        self._call(self.aclose())

    async def aclose(self) -> None:
        """Close them from within the loop."""
        await asyncio.gather(*(self._close(interface) for interface in list(self._open)))
        await self._process.aclose()

    def _ensure(self, listener: MetadataListener) -> None:
        try:
            self._call(self._put(listener))
        except OSError as error:
            raise _explained(listener, error) from error

    def _release(self, listener: MetadataListener) -> None:
        self._call(self._close(listener.interface))

    def _call(self, task: Coroutine[Any, Any, None]) -> None:
        future = asyncio.run_coroutine_threadsafe(task, self._loop)
        try:
            future.result(CALL_S)
        except TimeoutError as error:
            future.cancel()
            raise LessorError(f"metadata: the agent's loop took over {CALL_S:g} s") from error

    async def _put(self, listener: MetadataListener) -> None:
        held = self._open.get(listener.interface)
        if held and _is_alive(held) and _spot(held.listener) == _spot(listener):
            held.reception.networks = listener.networks
            held.listener = listener
            return
        await self._close(listener.interface)
        place = _place(listener)
        listening = bound(listener.interface, listener.port, listener.namespace)
        try:
            callers = self._callers(listener.interface, listener.namespace)
        except OSError:
            listening.close()
            raise
        self._process.start()
        reception = Reception(listener.networks, self._process, callers, self._ports)
        door = Door(listening, reception.take)
        self._open[listener.interface] = _Open(listener, place, door, reception)

    async def _close(self, interface: str) -> None:
        held = self._open.pop(interface, None)
        if held is not None:
            held.door.close()
            await held.reception.close()


def bound(interface: str, port: int, namespace: str = "") -> socket.socket:
    """Return a TCP socket that listens to `port` on one interface only.

    In a namespace it is bound to the metadata address, which exists there, without DNAT.

    Raises:
        OSError: no such interface, address or namespace, or another socket has the port.
    """
    # asyncio disables Nagle's algorithm (40 ms a request) only if the protocol is given
    with inside(namespace):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        keep_first_packets(made)
        made.bind((str(METADATA_ADDRESS) if namespace else ANYWHERE, port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _is_alive(held: _Open) -> bool:
    try:
        return held.door.is_open() and _place(held.listener) == held.place
    except OSError:
        return False


def _spot(listener: MetadataListener) -> tuple[str, int]:
    return listener.namespace, listener.port


def _place(listener: MetadataListener) -> Place:
    where = identity(listener.namespace) if listener.namespace else None
    with inside(listener.namespace):
        try:
            return where, socket.if_nametoindex(listener.interface)
        except OSError as error:  # Python sets no errno
            raise OSError(errno.ENODEV, f"no interface {listener.interface}") from error


def _explained(listener: MetadataListener, error: OSError) -> LessorError:
    what = f"metadata on {listener.interface} port {listener.port}"
    missing = _missing(listener).get(error.errno or 0)
    if missing:
        return Pending(
            f"{what}: there is no {missing} yet", key=listener.interface, retry_s=RETRY_S
        )
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"{what}: another program listens there; stop it or set metadata_port to a free one"
        )
    return LessorError(f"{what}: {error}")


def _missing(listener: MetadataListener) -> dict[int, str]:
    """Return the missing object for each errno that reports one."""
    interface = f"interface {listener.interface}"
    return {
        errno.ENODEV: interface,
        errno.ENXIO: interface,
        errno.ENOENT: f"network namespace {listener.namespace}",
        errno.EADDRNOTAVAIL: f"address {METADATA_ADDRESS} in {listener.namespace}",
    }
