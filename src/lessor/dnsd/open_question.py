"""A question that waits for an upstream server, with everyone who asked the same meanwhile.

Equal questions are asked upstream once: many at the same time would let a forger of answers guess
at all of their ids at once (CVE-2020-25686).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from lessor.core.dns.message import AD, CD, RD, SERVFAIL, Question, pass_on, respond
from lessor.dnsd.clients import Client

PORT = 53
MIN_TRIES = 3  # of one or two servers: a packet may be lost

Server = tuple[str, int]  # address and port


class Asker(NamedTuple):
    """Who asked. `size`: maximum octets of the answer; `send`: sends it."""

    client: Client
    question: Question
    size: int
    send: Callable[[bytes], None]
    source: object  # equal for a question that is sent again


@dataclass(slots=True, eq=False)
class OpenQuestion:
    """A question, the servers that it may yet be put to, in order, and the one that has it now."""

    question: Question
    tcp: bool
    servers: list[Server]
    askers: dict[object, Asker] = field(default_factory=dict)  # by their source
    asked: Server = ("", 0)
    number: int = 0  # the id of the message to `asked`
    tries: int = 0
    refusal: bytes = b""  # the last answer of a server that could not tell
    closed: bool = False

    @property
    def key(self) -> object:
        """What makes questions equal."""
        return key(self.question, tcp=self.tcp)

    def join(self, asker: Asker) -> None:
        """Answer one more client; a question that is sent again is the one that it was before."""
        if asker.source not in self.askers:
            asker.client.open += 1
            self.askers[asker.source] = asker

    def next(self) -> bool:
        """Go on to the next server; False: there is none."""
        if not self.servers or self.tries >= max(MIN_TRIES, len(self.servers)):
            return False
        self.asked = self.servers[0]
        self.servers = self.servers[1:] + self.servers[:1]
        self.tries += 1
        return True

    def exclude(self, refusal: bytes) -> None:
        """Ask this server no more: it answered that it can't tell."""
        self.servers = [one for one in self.servers if one != self.asked]
        self.refusal = refusal or self.refusal

    def drop(self) -> None:
        """Leave it unanswered."""
        self.closed = True
        for asker in self.askers.values():
            asker.client.open -= 1

    def finish(self, reply: bytes = b"") -> None:
        """Answer the clients; without a reply, with the last refusal or SERVFAIL."""
        self.drop()
        for _, question, size, send, _ in self.askers.values():
            answered = reply or self.refusal
            if answered:
                send(pass_on(answered, question, size))
            else:
                send(respond(question, SERVFAIL, size=size))


def key(question: Question, *, tcp: bool) -> object:
    """Return what makes questions equal: whatever an upstream server's answer depends on."""
    return question.wire, question.flags & (RD | AD | CD), question.edns, question.dnssec, tcp
