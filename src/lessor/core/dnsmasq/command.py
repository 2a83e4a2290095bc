"""The command line of a dnsmasq, and how a running one follows a change.

One process serves one bridge, or one namespace, with all ranges on it.

Source: semantics.md A8.2, B7; dnsmasq(8).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from lessor.core.dnsmasq.files import client_id, names_text, range_files, range_tag
from lessor.core.state import DhcpRange, DhcpServer, Reservation
from lessor.net.address import place
from lessor.net.dhcp_options import MTU
from lessor.net.labels import is_domain


@dataclass(frozen=True, slots=True)
class Paths:
    """Where one server's files are, and the program that it reports leases to."""

    folder: PurePath
    hook: PurePath
    hook_user: str  # that it is called as
    config_file: str = ""  # the operator's own settings of dnsmasq

    @property
    def base(self) -> PurePath:
        """The reservations of the last reload, in one file."""
        return self.folder / "reservations"

    @property
    def hosts(self) -> PurePath:
        """The folder of the reservations since then."""
        return self.folder / "hosts"

    @property
    def opts(self) -> PurePath:
        """The folder of options."""
        return self.folder / "opts"

    @property
    def names(self) -> PurePath:
        """The folder of further names that DNS answers."""
        return self.folder / "names"

    @property
    def pid(self) -> PurePath:
        """Where dnsmasq writes its process id."""
        return self.folder / "pid"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a running server from its loaded state to the desired one.

    `add` goes live by itself. `blocked` are reservations whose address, MAC or port a removed one
    still has in dnsmasq's memory: they are live after a reload only.
    """

    restart: bool
    reload: bool
    names: bool
    add: tuple[Reservation, ...]
    blocked: tuple[Reservation, ...]

    def __bool__(self) -> bool:
        return self.restart or self.reload or self.names or bool(self.add)


def plan(loaded: DhcpServer, desired: DhcpServer, paths: Paths) -> Plan:
    """Return the steps for a running server. Cheap without a change, whatever its size."""
    old, new = loaded.reservations, desired.reservations
    # most are the same objects, which costs least to compare
    other = [key for key, have in old.items() if new.get(key) is not have]
    gone = [old[key] for key in other if new.get(key) != old[key]]
    others = [key for key, want in new.items() if old.get(key) is not want]
    fresh = sorted((new[key] for key in others if old.get(key) != new[key]), key=_address)
    taken = {key for have in gone for key in (have.address, have.mac, have.port_id)}
    blocked = tuple(r for r in fresh if not taken.isdisjoint((r.address, r.mac, r.port_id)))
    return Plan(
        restart=command_line(loaded, paths) != command_line(desired, paths),
        reload=bool(gone) or range_files(loaded) != range_files(desired),
        names=loaded.names != desired.names and names_text(loaded) != names_text(desired),
        add=tuple(r for r in fresh if r not in blocked) if blocked else tuple(fresh),
        blocked=blocked,
    )


def _address(reservation: Reservation) -> tuple[int, int]:
    return place(reservation.address)


def command_line(server: DhcpServer, paths: Paths) -> tuple[str, ...]:
    """Return the program and its arguments; another command line needs a restart.

    * The interface is named and excluded at once: that binds port 67 to the device, so that unicast
      reaches the right one of several servers, and leaves DNS to the listed addresses, which stay
      excepted from the exclusion. Other addresses of the bridge are the operator's; in a namespace
      it is the metadata service's.
    * `dhcp-authoritative` answers the renewal of a known host after any loss of leases;
      `dhcp-ignore` keeps it from a NAK to clients of other servers on the same wire. With peers it
      would refuse clients that chose a peer (D2.3); without it, a renewal by broadcast is answered
      if the lease is known, and ignored if not.
    * From a namespace no resolver of the host can be reached.
    * Names in VMs' domains, names without a dot and addresses of VMs are never forwarded: a VM's
      own AAAA would wait for a silent upstream, and disclose the VM to it.
    * On a bridge networks share a server: if VMs of several networks have the same name, a client
      gets the address in its own network (`localise-queries`).
    * Hosts are known by MAC: clones send equal client-ids (D2.14), so these are ignored unless a
      port has an option for its own.
    """
    spoken = server.ranges
    return (
        "dnsmasq",
        f"--conf-file={paths.config_file or '/dev/null'}",
        "--strict-order",
        "--bind-interfaces",
        f"--interface={server.interface}",
        f"--except-interface={server.interface}",
        "--except-interface=lo",
        *(
            f"--listen-address={address}"
            for address in sorted({r.server for r in spoken}, key=place)
        ),
        f"--pid-file={paths.pid}",
        "--no-hosts",
        "--no-ping",
        "--leasefile-ro",
        f"--dhcp-script={paths.hook}",
        f"--dhcp-scriptuser={paths.hook_user}",
        f"--dhcp-hostsfile={paths.base}",
        f"--dhcp-hostsdir={paths.hosts}",
        f"--dhcp-optsdir={paths.opts}",
        f"--hostsdir={paths.names}",
        *(_range_argument(r, server.lease_time) for r in spoken),
        *(f"--dhcp-option-force=tag:{range_tag(r)},{MTU.number},{r.mtu}" for r in spoken),
        f"--dhcp-lease-max={sum(r.cidr.num_addresses for r in spoken)}",
        *_domain_arguments(spoken),
        *_local_arguments(spoken, server.forwarded),
        *(() if server.namespace else ("--localise-queries",)),
        *(() if server.peers else ("--dhcp-authoritative",)),
        "--dhcp-ignore=tag:!known",
        *(() if _by_client_id(server) else ("--dhcp-ignore-clid",)),
        *(("--no-resolv",) if server.upstream_dns or server.namespace else ()),
        *(f"--server={one}" for one in server.upstream_dns),
    )


def _by_client_id(server: DhcpServer) -> bool:
    given = [one for one in server.reservations.values() if one.options]
    return any(map(client_id, given))


def _range_argument(range_: DhcpRange, lease_time: int) -> str:
    lasting = "infinite" if lease_time < 0 else f"{lease_time}s"
    static = f"{range_.start},static,{range_.cidr.netmask}"
    return f"--dhcp-range=set:{range_tag(range_)},{static},{lasting}"


def _domain_arguments(ranges: tuple[DhcpRange, ...]) -> Iterator[str]:
    """Name the domain, or one a range; an empty value would make dnsmasq fail (LP 1161506)."""
    domains = {r.domain for r in ranges}
    if len(domains) == 1:
        yield from (f"--domain={domain}" for domain in domains if is_domain(domain))
        return
    for r in ranges:
        if is_domain(r.domain):
            yield f"--domain={r.domain},{r.cidr}"


def _local_arguments(ranges: tuple[DhcpRange, ...], forwarded: tuple[str, ...]) -> Iterator[str]:
    """Name the domains that are never forwarded; a reverse zone without a server is local."""
    known = {domain.lower() for domain in forwarded}
    domains = dict.fromkeys(r.domain for r in ranges if r.domain.lower() not in known)
    yield "--domain-needed"
    yield from (f"--local=/{domain}/" for domain in domains if is_domain(domain))
    yield from (f"--rev-server={r.cidr}" for r in ranges)
