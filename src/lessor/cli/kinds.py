"""Parsers and types of command-line values; a malformed one is wrong usage (exit status 2)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any

import typer

TRUE, FALSE = {"t", "true", "y", "yes", "1"}, {"f", "false", "n", "no", "0"}


def flag(text: str) -> bool:
    """Parse nova-manage's T or F."""
    if text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    raise typer.BadParameter(f"{text!r} is neither T nor F")


def address(text: str) -> IPv4Address:
    """Parse an IPv4 address."""
    try:
        return IPv4Address(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not an IPv4 address") from None


def block(text: str) -> IPv4Network:
    """Parse a block of IPv4 addresses."""
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not an IPv4 block: {error}") from None


def pair(text: str) -> tuple[str, str]:
    """Parse NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    return name.strip(), value


def address_range(text: str) -> dict[str, str]:
    """Parse FIRST-LAST, a range of addresses."""
    first, dash, last = text.partition("-")
    if not dash:
        raise typer.BadParameter(f"{text!r} is not FIRST-LAST, such as 10.0.0.10-10.0.0.99")
    return {"start": str(address(first.strip())), "end": str(address(last.strip()))}


def route(text: str) -> dict[str, str]:
    """Parse BLOCK,GATEWAY, a route."""
    destination, comma, nexthop = text.partition(",")
    if not comma:
        raise typer.BadParameter(f"{text!r} is not BLOCK,GATEWAY, such as 10.9.0.0/16,10.0.0.7")
    return {"destination": str(block(destination.strip())), "nexthop": str(address(nexthop))}


def text_or_file(text: str) -> str:
    """Return the text, or for "@FILE" the contents of the file."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{text[1:]}: {error}") from None


Text = Annotated[str | None, typer.Option()]
Address = Annotated[IPv4Address | None, typer.Option(parser=address, metavar="ADDRESS")]
OnOff = Annotated[bool | None, typer.Option("--enable/--disable", help="Administratively.")]
Security = Annotated[
    bool | None,
    typer.Option(
        "--port-security/--no-port-security",
        help="Let the VM send with its own MAC and addresses only (the default).",
    ),
]
Mtu = Annotated[int | None, typer.Option(min=68, max=65535, help="In bytes.")]
MultiHost = Annotated[
    Any,  # with bool, typer makes a switch without a value
    typer.Option(
        "--multi-host",
        parser=flag,
        metavar="T/F",
        help="Every host with a port is the gateway and DHCP server of its own VMs.",
    ),
]
ShareAddress = Annotated[
    Any,
    typer.Option(
        "--share-address",
        parser=flag,
        metavar="T/F",
        help="With --multi-host: all hosts have the same gateway address.",
    ),
]
