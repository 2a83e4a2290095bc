"""DNS of one server in this process: a loop in a thread, on real sockets."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.exception
import dns.message

from lessor.core.dhcp.limit import Limit
from lessor.core.dns.zone import entries, zone_of
from lessor.core.state import DhcpServer
from lessor.dnsd.clients import QUESTIONS
from lessor.dnsd.host import Host
from lessor.dnsd.loop import Loop
from lessor.dnsd.messages import Header
from lessor.dnsd.sockets import open_sockets
from lessor.dnsd.table import Table

ANSWER_S = 10.0


class Serving:
    """A running host of DNS servers. `do` runs something in its thread."""

    def __init__(self, path: Path, limit: Limit = QUESTIONS) -> None:
        self._path = path
        self._limit = limit
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake, woken = socket.socketpair()
        self._woken = woken
        self.errors: list[BaseException] = []
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,))
        self._thread.start()
        assert ready.wait(ANSWER_S)

    def _run(self, ready: threading.Event) -> None:
        self.loop = Loop()
        self.host = Host(self.loop, Table(self._path), self._limit)
        self.loop.add(self._woken, self._called)
        ready.set()
        try:
            self.loop.run()
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            self.host.close()
            self.loop.close()

    def _called(self, _: int) -> None:
        self._woken.recv(1)
        self._calls.get()()

    def do(self, call: Callable[[], Any]) -> Any:
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls.put(lambda: done.put(call()))
        self._wake.send(b"x")
        return done.get(timeout=ANSWER_S)

    def bring(self, server: DhcpServer, *, namespace: str = "") -> None:
        """Serve a server with all its names, on sockets in a namespace."""
        header = Header(server.name, namespace, zone_of(server))
        sockets = open_sockets(namespace, header.zone)
        self.do(lambda: self.host.open(header, sockets))
        self.do(lambda: self.host.change(server.name, (), tuple(entries(server)), complete=True))

    def counts(self, name: str) -> dict[str, int]:
        found: tuple[int, dict[str, int], tuple[str, ...]] = self.do(lambda: self.host.counts(name))
        return found[1]

    def stop(self) -> None:
        if self._thread.is_alive():
            self.do(self.loop.end)
        self._thread.join(ANSWER_S)
        self._wake.close()
        self._woken.close()
        assert not self.errors, self.errors


@contextmanager
def serving(path: Path, limit: Limit = QUESTIONS) -> Iterator[Serving]:
    made = Serving(path, limit)
    try:
        yield made
    finally:
        made.stop()


class Upstream:
    """A name server at an address, that answers as a function of the question says.

    Attributes:
        asked: the questions in the order in which they came.
    """

    def __init__(self, address: str, answer: Callable[[dns.message.Message], bytes | None]) -> None:
        self.asked: list[dns.message.Message] = []
        self.sources: list[tuple[str, int]] = []
        self.answer = answer
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((address, 53))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            data, source = self.sock.recvfrom(4096)
            if not data:
                return
            try:
                question = dns.message.from_wire(data)
            except dns.exception.DNSException:
                continue
            self.asked.append(question)
            self.sources.append(source)
            reply = self.answer(question)
            if reply is not None:
                self.sock.sendto(reply, source)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.sock.getsockname())
        self._thread.join(ANSWER_S)
        self.sock.close()


class TcpUpstream:
    """A name server at an address, over TCP: one question a connection."""

    def __init__(self, address: str, answer: Callable[[dns.message.Message], bytes]) -> None:
        self._answer = answer
        self._sock = socket.create_server((address, 53))
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            sock, _ = self._sock.accept()
            with sock:
                if self._ended:
                    return
                data = sock.recv(4096)
                reply = self._answer(dns.message.from_wire(data[2:]))
                sock.sendall(len(reply).to_bytes(2) + reply)

    def close(self) -> None:
        self._ended = True
        with socket.create_connection(self._sock.getsockname()):
            self._thread.join(ANSWER_S)
        self._sock.close()
