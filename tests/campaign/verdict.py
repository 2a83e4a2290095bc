"""The end of a campaign: how long until all is well again, and whether it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from lessor.errors import LessorError
from lessor.lab.services import LESSOR, SERVER
from lessor.lab.wait import StillNot, wait_for
from tests.campaign import evidence, gaps, invariants
from tests.campaign.api import Api
from tests.campaign.campaign import DISASSOCIATE_S, LEASE_TIME_S, Campaign
from tests.campaign.faults import pairs
from tests.campaign.history import ACKED, DONE, REFUSED, Fill, LeaseHeld, Result, result

CONVERGED_S = 120.0  # from the last fault's end
SETTLED_S = 20.0  # until the store has the last renewals
HOLDS_S = LEASE_TIME_S + DISASSOCIATE_S + 30.0  # a lease's certain end, and the look that finds it
SETTINGS = ("--config-file", "/etc/lessor/lessor.conf")
NOTHING_TO_DO = "nothing: this host is as that view says"
Row = dict[str, Any]


def convergence(run: Campaign) -> tuple[float, Result]:
    """Wait until hosts are in sync, programs run, and each VM was answered; return the seconds."""
    began = time.monotonic()
    run.control.settle.set()
    api = run.api()
    for churn in run.churns:
        churn.join(CONVERGED_S)

    def lacking() -> list[str]:
        late = [row["name"] for row in api.rows("hosts") if not (row["alive"] and row["in_sync"])]
        dead = [f"{host} is not in sync" for host in late] + run.programs.missing()
        return dead + [
            f"{guest.name} has no answer: {guest.port.address} on {guest.network.name}, {guest.host}"
            for guest in run.guests
            if guest.port and not (guest.last and guest.last.asked > began)
        ]

    rest = _still(lacking, CONVERGED_S)
    if rest:
        evidence.collect(run.lab, run.evidence / "not-converged")
    api.close()
    took = time.monotonic() - began
    return took, result(f"all is well {CONVERGED_S:g} s after the last fault", 1, rest)


def _still(lacking: Callable[[], list[str]], limit_s: float) -> list[str]:
    try:
        wait_for(lambda: not lacking(), limit_s)
    except StillNot:
        return lacking()
    return []


def leases(run: Campaign) -> Result:
    """Compare what VMs have with what the store says."""
    api = run.api()
    run.control.freeze.set()

    def found() -> Result:
        return invariants.leases_match(_held(run), api.rows("leases", live="true"))

    _still(lambda: list(found().violations), SETTLED_S)
    last = found()
    run.control.freeze.clear()
    api.close()
    return last


def _held(run: Campaign) -> list[LeaseHeld]:
    return [held for guest in run.guests if guest.port and (held := guest.held())]


def store(run: Campaign) -> list[Result]:
    """Compare what was acknowledged with what is there."""
    api = run.api()
    rows = api.rows("ports")
    api.close()
    run.history.snapshots.append(rows)
    ports = list(run.history.ports)
    return [
        invariants.creates_kept(ports, rows),
        invariants.deletes_kept(ports, rows),
        invariants.nothing_unasked(ports, rows),
        invariants.unique_in_store(run.history.snapshots),
        invariants.held_once(ports),
        invariants.readings_right(ports, list(run.history.readings)),
    ]


def addresses(run: Campaign, facts: dict[str, object]) -> list[Result]:
    """Delete what the clients have; wait for the holds; give out every address."""
    api = run.api()
    for churn in run.churns:
        for port in churn.have:
            api.delete(port)
    known = {guest.port.port_id for guest in run.guests if guest.port}
    for row in api.rows("ports"):  # made without an answer that said so
        if row["id"] not in known and not row["device_owner"].startswith(invariants.OWN):
            _delete(api, row["id"])

    def held() -> list[str]:
        return [
            f"{row['address']} of {row['network_id']} on {row['host']} is releasing, leased until {row['leased_until']}"
            for row in api.rows("addresses", state="releasing")
        ]

    _still(held, SETTLED_S)
    facts[f"addresses still held {SETTLED_S:g} s after their ports' end"] = len(held())
    left = _still(held, HOLDS_S - SETTLED_S)
    fills = [_fill(api, name, network.id) for name, network in run.networks.items()]
    api.close()
    return [
        result(f"no address waits longer than {HOLDS_S:g} s for its former lease's end", 1, left),
        invariants.all_given_out(fills),
    ]


def _fill(api: Api, name: str, network: str) -> Fill:
    [subnet] = api.rows("subnets", network_id=network)
    ends = [
        (int(IPv4Address(p["start"])), int(IPv4Address(p["end"])))
        for p in subnet["allocation_pools"]
    ]
    ports = api.rows("ports", network_id=network)
    used = {int(IPv4Address(one["ip_address"])) for row in ports for one in row["fixed_ips"]}
    held = api.rows("addresses", network_id=network, state="releasing")
    used |= {int(IPv4Address(row["address"])) for row in held}
    total = sum(end - start + 1 for start, end in ends)
    expected = total - sum(start <= address <= end for address in used for start, end in ends)
    made: list[str] = []
    while True:
        body = {"port": {"network_id": network, "name": f"fill-{name}-{len(made)}"}}
        answer = api.ask("create port", "POST", "ports", body)
        if answer.outcome == REFUSED or len(made) > total:
            break
        if answer.outcome == DONE:
            made.append(answer.body["port"]["id"])
    for port_id in made:
        _delete(api, port_id)
    return Fill(name, expected, len(made))


def _delete(api: Api, port_id: str) -> None:
    api.surely(lambda: api.ask("delete port", "DELETE", f"ports/{port_id}"))


def hosts(run: Campaign, logs: dict[str, int]) -> list[Result]:
    """Look at each host: plans, programs, logs."""
    fleet = run.fleet
    plans = {host: _until_empty(partial(_plan, run, host)) for host in fleet.hosts}
    halves = {host: _until_empty(partial(_halves, run, host)) for host in fleet.hosts}
    texts = {path.name: path.read_text(errors="replace") for path in _logs(run)}
    traces = {name: _around(text, "Traceback") for name, text in texts.items()}
    failing = {
        name: _around(text[logs.get(name, 0) :], "still failing") for name, text in texts.items()
    }
    return [
        invariants.nothing("every agent's plan is empty", plans),
        invariants.nothing("every dnsmasq has its helper", halves),
        result(
            "no program ended by itself",
            len(fleet.hosts) * 3 + len(fleet.servers),
            run.history.gone + run.programs.missing(),
        ),
        invariants.nothing("no traceback in a log", traces),
        invariants.nothing("nothing is still failing afterwards", failing),
        invariants.nothing("lessor db check finds nothing", {SERVER: _db_check(run)}),
    ]


def _until_empty(look: Callable[[], str]) -> str:
    """Give the last deletions their time."""
    try:
        wait_for(lambda: not look(), SETTLED_S)
    except StillNot:
        return look()
    return ""


def _plan(run: Campaign, host: str) -> str:
    try:
        text = run.lab.exec(host, LESSOR, "agent", *SETTINGS, "plan", timeout_s=60).strip()
    except LessorError as error:
        return str(error)
    return "" if text.endswith(NOTHING_TO_DO) else text


def _halves(run: Campaign, host: str) -> str:
    node = run.lab.node(host)
    mains, helpers = pairs(node.find("dnsmasq"), node.proc)
    return "" if len(mains) == len(helpers) else f"{len(mains)} dnsmasq, {len(helpers)} helpers"


def _db_check(run: Campaign) -> str:
    try:
        text = run.lab.exec(SERVER, LESSOR, "db", "check", *SETTINGS, timeout_s=60).strip()
    except LessorError as error:
        return str(error)
    return "" if text == "nothing is wrong" else text


def _logs(run: Campaign) -> list[Path]:
    return sorted((run.lab.folder / "log").glob("*.log"))


def log_sizes(run: Campaign) -> dict[str, int]:
    """Return how long each log is now, in characters."""
    return {path.name: len(path.read_text(errors="replace")) for path in _logs(run)}


def _around(text: str, word: str) -> str:
    at = text.find(word)
    return text[at : at + 2000] if at >= 0 else ""


def dhcp(run: Campaign) -> list[Result]:
    """Judge what VMs were answered."""
    history = run.history
    ports, exchanges = list(history.ports), list(history.exchanges)
    return [
        invariants.own_address_only(ports, exchanges),
        invariants.never_refused(ports, exchanges),
        invariants.not_reused_early(ports, exchanges),
        invariants.one_on_the_wire(ports, list(history.sightings), history.snapshots, history.nics),
        gaps.short_enough(history.spans, exchanges, history.faults),
    ]


def worked(run: Campaign) -> list[Result]:
    """The campaign itself did what it was to do."""
    wrong = [
        f"{one.what}: status {one.status}"
        for one in run.history.calls
        if one.status >= 500 and one.status != 503
    ]
    acked = sum(one.outcome == ACKED for one in run.history.exchanges)
    return [
        result("no call ends with another 5xx than 503", len(run.history.calls), wrong),
        result("the campaign could do all that it wanted", acked, run.history.broken),
    ]
