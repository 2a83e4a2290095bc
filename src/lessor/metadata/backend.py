"""Answers the guest process: identifies the VM of a connection and returns its rows.

It runs in the agent, which has the view, the host's token and Nova's secret. A VM is identified by
the MAC and the address of its connection, on the networks of the interface that received it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Protocol

import structlog

from lessor.core.metadata.askers import own_address
from lessor.metadata.cache import FactsCache, Provider
from lessor.metadata.client_address import Caller
from lessor.metadata.http import Response, refusal
from lessor.metadata.messages import MOST_BODY, Answer, AskFacts, AskNova, KeepPassword, Question
from lessor.metadata.port_lookup import Ports
from lessor.metadata.proxy import NovaProxy
from lessor.model import MetadataFacts, Port
from lessor.net.address import Address
from lessor.settings import AgentSettings
from lessor.wire import encode

QUESTION_S = 30.0
QUIET_S = 60.0
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")


class Visitor(Protocol):
    """A connection that the agent accepted. `networks`: those of the receiving interface."""

    @property
    def caller(self) -> Caller:
        """Return its other end."""

    @property
    def networks(self) -> tuple[str, ...]:
        """Return their ids."""


@dataclass(frozen=True, slots=True)
class _Asker:
    """The VM that sent a request."""

    networks: tuple[str, ...]
    address: Address
    facts: MetadataFacts


class Backend:
    """Serves all listeners of the agent.

    Args:
        facts: reads the rows of the VM with an address on one of some networks; None: unknown.
        set_password: sends an instance's password to the server; False: it already has one.
        ports: ports of the agent's view.
        settings: settings of the agent.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        *,
        facts: Provider,
        set_password: Callable[[str, str], Awaitable[bool]],
        ports: Ports,
        settings: AgentSettings,
        clock: Callable[[], float],
    ) -> None:
        self._cache = FactsCache(facts, settings.metadata_cache_expiration, clock)
        self._set_password = set_password
        self._ports = ports
        self._use_forwarded_for = settings.use_forwarded_for
        self._clock = clock
        self._nova: NovaProxy | None = None
        if settings.metadata_mode == "proxy":
            self._nova = NovaProxy(
                settings.nova_metadata_url, settings.metadata_proxy_shared_secret
            )
        self._ignored_header = False
        self._complaint = ("", 0.0)
        self._log = structlog.get_logger("lessor.metadata")

    async def answer(self, visitor: Visitor, question: Question) -> Answer:
        """Answer a question of the process about a connection."""
        try:
            async with asyncio.timeout(QUESTION_S):
                told = await self._told(visitor, question)
        except Exception as error:  # noqa: BLE001 - after any error the VM can try again
            self._complain(visitor, repr(error))
            told = refusal(500, "something failed here; try again", close=True)
        if isinstance(told, Response):
            return Answer(question.number, response=told)
        return Answer(question.number, facts=encode(told))

    def note(self, visitor: Visitor, event: str, text: str) -> None:
        """Log an event of the process, rate-limited: neither a VM nor the process fills the log."""
        if event == "failed":
            self._complain(visitor, text)
        elif not self._ignored_header:
            self._ignored_header = True
            address = str(visitor.caller.address)
            self._log.warning("x-instance-id ignored", client=address, metadata_mode="local")

    async def aclose(self) -> None:
        """Close the connections to Nova."""
        if self._nova is not None:
            await self._nova.aclose()

    def _complain(self, visitor: Visitor, error: str) -> None:
        """Log an error, the same one at most once a minute: a VM can't fill the log with it."""
        said, at = self._complaint
        now = self._clock()
        if error != said or not 0 <= now - at < QUIET_S:
            self._complaint = (error, now)
            address = str(visitor.caller.address)
            self._log.warning("metadata failed", client=address, error=error)

    async def _told(self, visitor: Visitor, question: Question) -> MetadataFacts | Response:
        try:
            asker = await self._asker(visitor, question.forwarded)
        except Exception:  # noqa: BLE001 - any failure of the provider; the cache has logged it
            return refusal(500, "the server can't be reached to identify this VM; try again")
        if asker is None:
            return refusal(404, "no port has this address here")
        match question:
            case AskFacts():
                return asker.facts
            case KeepPassword():
                return await self._keep_password(asker, question.password)
            case AskNova():
                return await self._proxied(asker, question)

    async def _asker(self, visitor: Visitor, forwarded: str | None) -> _Asker | None:
        """Return the VM that asks; None: it can't be identified."""
        port = self._port(visitor, forwarded)
        address = own_address(port, visitor.caller.address) if port else None
        if port is None or address is None:
            return None
        asked = (port.network_id,)
        facts = await self._cache.get(asked, address)
        if facts is None or facts.port.id != port.id:  # another port has the address by now
            return None
        return _Asker(asked, address, facts)

    def _port(self, visitor: Visitor, forwarded: str | None) -> Port | None:
        """Return the port of the VM that asks; behind a trusted proxy, the one the proxy names."""
        networks, caller = visitor.networks, visitor.caller
        if forwarded is None or not self._use_forwarded_for:
            return self._ports.port(networks, caller)
        try:
            said = IPv4Address(forwarded)
        except AddressValueError:
            return None
        behind = self._ports.behind(networks, caller, said)
        return behind or self._ports.port(networks, caller)

    async def _keep_password(self, asker: _Asker, password: str) -> Response:
        instance = asker.facts.instance
        if instance is None:
            return refusal(404, "no instance row keeps a password for this VM", close=True)
        if len(password.encode()) > MOST_BODY:
            return refusal(400, f"a password has {MOST_BODY} bytes at most")
        kept = await self._set_password(instance.id, password)
        self._cache.expire(asker.networks, asker.address)
        return Response(200) if kept else refusal(409, "the password was set before")

    async def _proxied(self, asker: _Asker, question: AskNova) -> Response:
        headers = {"accept": question.accept, "content-type": question.content_type}
        said = {name: value for name, value in headers.items() if value is not None}
        fit = all(_VALUE.fullmatch(value) for value in said.values())
        if self._nova is None or not fit or not _TARGET.fullmatch(question.target):
            return refusal(400)
        return await self._nova.forward(
            asker.facts.port,
            asker.address,
            method=question.method,
            target=question.target,
            headers=said,
            body=question.body,
        )
