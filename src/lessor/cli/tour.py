"""Formats a tour of a network: for each host and object, the desired and the actual state."""

from __future__ import annotations

from collections.abc import Iterator

from lessor.cli.ages import problem_line
from lessor.layout import Row

MARKS = {True: "ok  ", False: "MISS"}


def tour_text(network: Row, tour: Row) -> str:
    """Return a tour as text. A wrong object has the command that shows it.

    Args:
        network: its row in the API.
        tour: the API's answer.
    """
    return "\n".join([*_head(network, tour), "", *_hosts(tour)])


def host_text(host: Row) -> str:
    """Return one host's part as text."""
    return "\n".join(_host(host))


def _head(network: Row, tour: Row) -> Iterator[str]:
    kind, vni = network["provider:network_type"], network["provider:segmentation_id"]
    number = f", VNI {vni}" if vni is not None else ""
    yield f"network {network['name'] or network['id']} ({network['id']}): {kind}{number}"
    yield f"DHCP on: {', '.join(tour['dhcp_hosts']) or 'no host'}"
    yield from (f"MISS  {problem}" for problem in tour["problems"])
    yield "all there" if tour["ok"] else f"missing or wrong: {_count(tour)}"


def _count(tour: Row) -> int:
    pieces = [piece for host in tour["hosts"] for piece in host["pieces"]]
    silent = sum(bool(host["silent"]) for host in tour["hosts"])
    problems = sum(not one["waits"] for host in tour["hosts"] for one in host["problems"])
    return sum(not piece["ok"] for piece in pieces) + silent + problems + len(tour["problems"])


def _hosts(tour: Row) -> Iterator[str]:
    for n, host in enumerate(tour["hosts"]):
        if n:
            yield ""
        yield from _host(host)


def _host(host: Row) -> Iterator[str]:
    yield f"host {host['host']}"
    if host["silent"]:
        yield f"  MISS  {host['silent']}"
    for problem in host.get("problems", ()):
        yield f"  {'wait' if problem['waits'] else 'MISS'}  {problem_line(host, problem)}"
    width = max((len(piece["what"]) for piece in host["pieces"]), default=0)
    for piece in host["pieces"]:
        yield f"  {MARKS[piece['ok']]}  {piece['what']:<{width}}  {piece['name']}: {_state(piece)}"
        if not piece["ok"]:
            yield f"        {'':<{width}}  look: {piece['command']}"


def _state(piece: Row) -> str:
    if piece["ok"]:
        return str(piece["found"])
    return f"should be {piece['should']}; is {piece['found']}"
