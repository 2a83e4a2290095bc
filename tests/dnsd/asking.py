"""A client of DNS with an address of its own."""

from __future__ import annotations

import socket
import struct
from contextlib import closing

import dns.message
import dns.rcode

AT = "10.0.0.1"
ME = "10.0.0.50"
ANSWER_S = 5.0


def query(name: str, kind: str = "A", **more: object) -> dns.message.Message:
    return dns.message.make_query(name, kind, **more)  # type: ignore[arg-type]


def asker(source: str = ME, timeout_s: float = ANSWER_S) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(timeout_s)
    sock.bind((source, 0))
    return sock


def ask(
    question: str | dns.message.Message,
    *,
    source: str = ME,
    at: str = AT,
    timeout_s: float = ANSWER_S,
) -> dns.message.Message | None:
    """Ask over UDP; None: no answer came in time."""
    message = query(question) if isinstance(question, str) else question
    with asker(source, timeout_s) as sock:
        sock.sendto(message.to_wire(), (at, 53))
        try:
            reply = dns.message.from_wire(sock.recv(4096))
        except TimeoutError:
            return None
    assert reply.id == message.id
    return reply


def addresses(reply: dns.message.Message | None) -> list[str]:
    assert reply is not None
    return sorted(one.address for rrset in reply.answer for one in rrset)


def code(reply: dns.message.Message | None) -> str:
    return dns.rcode.to_text(reply.rcode()) if reply is not None else "silence"


def connect(source: str = ME, at: str = AT, timeout_s: float = ANSWER_S) -> socket.socket:
    return socket.create_connection((at, 53), timeout_s, (source, 0))


def send(sock: socket.socket, message: dns.message.Message) -> None:
    data = message.to_wire()
    sock.sendall(struct.pack("!H", len(data)) + data)


def receive(sock: socket.socket) -> dns.message.Message | None:
    """Receive a message; None: the connection has ended."""
    head = _exactly(sock, 2)
    if head is None:
        return None
    data = _exactly(sock, int.from_bytes(head))
    return None if data is None else dns.message.from_wire(data)


def ask_tcp(question: str | dns.message.Message, source: str = ME) -> dns.message.Message | None:
    message = query(question) if isinstance(question, str) else question
    with closing(connect(source)) as sock:
        send(sock, message)
        return receive(sock)


def _exactly(sock: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        try:
            more = sock.recv(count - len(data))
        except ConnectionError:
            return None
        if not more:
            return None
        data += more
    return data
