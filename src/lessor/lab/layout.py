"""Parses the layout of a lab, its hosts and underlay, from a TOML file.

underlay_mtu = 1600   # bytes, of the wire between tunnel ends
delay_ms = 0          # one way, on that wire
underlay_ip = 4       # version of the addresses of tunnel ends

[[host]]
name = "net"          # with a number: net1, net2
kind = "network"      # network, compute or both
number = 2
overlay = true        # has Open vSwitch and a tunnel address

[[host]]
name = "cmp"
number = 3
flags = { report_interval = "2" }   # settings of its agent
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from lessor.errors import Invalid
from lessor.lab.state import HostSpec
from lessor.lab.underlay import Underlay

Number = Annotated[int, msgspec.Meta(ge=1)]


class HostEntry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One [[host]]."""

    name: str
    kind: Literal["network", "compute", "both"] = "compute"
    number: Number | None = None
    overlay: bool = True
    flags: dict[str, str] = {}


class LayoutFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole file."""

    host: Annotated[tuple[HostEntry, ...], msgspec.Meta(min_length=1)]
    underlay_mtu: int = 1600
    delay_ms: float = 0
    underlay_ip: Literal[4, 6] = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """A parsed layout."""

    hosts: tuple[HostSpec, ...]
    underlay: Underlay


def read_layout(path: Path) -> Layout:
    """Parse a lab's layout.

    Raises:
        Invalid: the file is malformed; the message has the position.
    """
    try:
        said = msgspec.toml.decode(path.read_bytes(), type=LayoutFile)
    except msgspec.DecodeError as error:
        raise Invalid(f"lab layout {path}: {error}") from error
    hosts = tuple(spec for entry in said.host for spec in _specs(entry))
    wire = Underlay(mtu=said.underlay_mtu, delay_ms=said.delay_ms, ip_version=said.underlay_ip)
    return Layout(hosts, wire)


def _specs(entry: HostEntry) -> Iterator[HostSpec]:
    names = [entry.name]
    if entry.number is not None:
        names = [f"{entry.name}{number}" for number in range(1, entry.number + 1)]
    for name in names:
        yield HostSpec(
            name=name,
            network_host=entry.kind in {"network", "both"},
            overlay=entry.overlay,
            flags=dict(entry.flags),
        )
