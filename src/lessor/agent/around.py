"""Reads this host's own networks, routes and servers: no flat subnet may overlap them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from urllib.parse import urlsplit

from lessor.agent.host.inet import LINK_SCOPE, HostAddress, addresses
from lessor.agent.host.netdump import NetDump, StaticRoute, parse_link
from lessor.core.around import Around, Connected
from lessor.model import HostBlock
from lessor.net.address import Address, Interface, place, place_of_block
from lessor.settings import AgentSettings

# The second has the name servers behind systemd-resolved, which itself is at 127.0.0.53.
RESOLV = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
MAXIMUM = 500  # blocks; the server keeps no more


class Surroundings:
    """A host's own networks and routes, as of the last look. Used in the thread of drivers.

    Args:
        settings: of the agent.
        servers: returns the addresses at which servers have answered.
        resolv: files that name this host's name servers.
    """

    def __init__(
        self,
        settings: AgentSettings,
        servers: Callable[[], Iterable[Address]] = tuple,
        resolv: Iterable[Path] = RESOLV,
    ) -> None:
        self._answered = servers
        self._named = frozenset(_literals(settings.server_url))
        self._resolv = tuple(resolv)
        self._wires = {
            name: mapping.physical_network
            for mapping in settings.flat_mappings
            for name in (mapping.bridge, mapping.interface)
            if name
        }
        self._seen: frozenset[Address] = frozenset()
        self._facts: Around | None = None

    def facts(self, *, changed: bool = True) -> Around:
        """Return the result of the last look, with the host's present networks.

        A server that is new since is a reason for another look.

        Args:
            changed: addresses may have come or gone since the last call.
        """
        if self._facts is None or self._servers() != self._seen:
            return self.look()
        if changed:
            present = connected(addresses(family=socket.AF_INET))
            self._facts = replace(self._facts, connected=present)
        return self._facts

    def look(self) -> Around:
        """Read all of it from the host."""
        self._seen = self._servers()
        with NetDump() as dump:
            names = {one.index: one.name for one in map(parse_link, dump.links())}
            routes = dump.static_routes()
        present = addresses(family=socket.AF_INET)
        blocks = dict.fromkeys(
            [
                *_single("server", self._seen),
                *_single("name server", name_servers(self._resolv)),
                *(self._network(names, one) for one in present if _is_own(one)),
                *self._ways(names, routes),
            ]
        )
        ours = frozenset(_interface(one).network for one in present if one.ours)
        self._facts = Around(tuple(blocks)[:MAXIMUM], ours, connected(present))
        return self._facts

    def _servers(self) -> frozenset[Address]:
        known = self._named.union(self._answered())
        return frozenset(one for one in known if not one.is_loopback)

    def _network(self, names: Mapping[int, str], one: HostAddress) -> HostBlock:
        name = names.get(one.device, "")
        return HostBlock(
            cidr=_cidr(one),
            what="network",
            detail=f"{name} ({one.local}/{one.prefixlen})",
            physical_network=self._wires.get(name, ""),
        )

    def _ways(self, names: Mapping[int, str], routes: Iterable[StaticRoute]) -> Iterator[HostBlock]:
        """Yield next hops and destinations; the default route's is everything, and no block."""
        for one in routes:
            name = names.get(one.device, "")
            if one.gateway is not None:
                yield HostBlock(cidr=IPv4Network(one.gateway), what="gateway", detail=name)
            if one.cidr.prefixlen:
                detail, wire = str(one.gateway or name), self._wires.get(name, "")
                yield HostBlock(cidr=one.cidr, what="route", detail=detail, physical_network=wire)


def connected(found: Iterable[HostAddress]) -> tuple[Connected, ...]:
    """Return the networks of the host's own addresses, in order."""
    own = {(one.device, _cidr(one)) for one in found if _is_own(one)}
    names = {device: _name(device) for device, _ in own}
    networks = {Connected(names[device], cidr) for device, cidr in own if names[device]}
    return tuple(sorted(networks, key=lambda one: (one.device, place_of_block(one.cidr))))


def _name(device: int) -> str:
    """Return the name of a device; "": it is no longer there."""
    with suppress(OSError):
        return socket.if_indextoname(device)
    return ""


def _cidr(one: HostAddress) -> IPv4Network:
    return IPv4Network((one.peer or one.local, one.prefixlen), strict=False)


def _single(what: str, found: Iterable[Address]) -> Iterator[HostBlock]:
    for address in sorted(found, key=place):
        yield HostBlock(cidr=IPv4Network(address), what=what)  # type: ignore[arg-type]  # of two


def _is_own(one: HostAddress) -> bool:
    """Tell whether an address is the host's, not ours, and means others outside of it."""
    address = IPv4Address(one.local)
    return not one.ours and one.scope <= LINK_SCOPE and not address.is_loopback


def _interface(one: HostAddress) -> Interface:
    return IPv4Interface((one.local, one.prefixlen))


def _literals(urls: Iterable[str]) -> Iterator[Address]:
    for url in urls:
        with suppress(ValueError):
            yield IPv4Address(urlsplit(url).hostname or "")


def name_servers(files: Iterable[Path]) -> set[Address]:
    """Return the IPv4 name servers of this host, but those on itself.

    Source: resolv.conf(5).
    """
    found: set[Address] = set()
    for file in files:
        text = ""
        with suppress(OSError, UnicodeDecodeError):
            text = file.read_text()
        for words in map(str.split, text.splitlines()):
            if len(words) > 1 and words[0] == "nameserver":
                with suppress(ValueError):
                    found.add(IPv4Address(words[1]))
    return {address for address in found if not address.is_loopback}
