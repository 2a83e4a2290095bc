"""A client of the servers that records what was acknowledged, and what nobody knows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lessor.lab.netns import NetnsTransport
from tests.campaign.history import DONE, REFUSED, UNKNOWN, Call, History, PortRecord, Reading

Json = dict[str, Any]
TIMEOUT_S = 8.0  # a stopped server answers later than that
PAUSE_S = 0.1  # before the next try
LIMIT_S = 120.0  # no fault keeps all servers away for that long


class GivenUp(Exception):
    """There was no answer for LIMIT_S, or until the campaign's end."""


@dataclass(frozen=True, slots=True)
class Answer:
    outcome: str
    status: int
    body: Json


class Api:
    """One thread's client of all servers; it goes to the next one after a failure."""

    def __init__(
        self, history: History, netns: Path, urls: Sequence[str], over: threading.Event
    ) -> None:
        self._history = history
        self._urls = urls
        self._turn = 0
        self._over = over
        self._http = httpx.Client(
            transport=NetnsTransport(netns), trust_env=False, timeout=TIMEOUT_S
        )

    def close(self) -> None:
        self._http.close()

    def ask(
        self,
        what: str,
        method: str,
        path: str,
        body: Json | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call and record its outcome."""
        asked = time.monotonic()
        url = f"{self._urls[self._turn % len(self._urls)]}/v2.0/{path}"
        status, found = 0, dict[str, Any]()
        try:
            answer = self._http.request(method, url, json=body, params=params)
            status = answer.status_code
            found = answer.json() if answer.content else {}
        except (httpx.TransportError, ValueError):
            pass
        outcome = _outcome(status)
        if outcome == UNKNOWN:
            self._turn += 1
        self._history.calls.append(Call(what, outcome, asked, time.monotonic(), status))
        return Answer(outcome, status, found)

    def surely(self, ask: Callable[[], Answer]) -> Answer:
        """Ask until there is an answer.

        Raises:
            GivenUp: there was none for LIMIT_S, or until the campaign's end.
        """
        end = time.monotonic() + LIMIT_S
        while (answer := ask()).outcome == UNKNOWN:
            if self._over.wait(PAUSE_S) or time.monotonic() > end:
                raise GivenUp
        return answer

    def rows(self, plural: str, **filters: str) -> list[Json]:
        found = self.surely(lambda: self.ask(f"list {plural}", "GET", plural, params=filters))
        rows: list[Json] = found.body[plural]
        return rows

    def create(self, network: str, name: str, **more: Any) -> PortRecord | None:
        """Make a port; None: refused, or nobody knows whether it was made."""
        made = self.create_many(network, [name], **more)
        return made[0] if made else None

    def create_many(self, network: str, names: Sequence[str], **more: Any) -> list[PortRecord]:
        """Make ports, in one call: all or none."""
        bodies = [{"network_id": network, "name": name, **more} for name in names]
        records = [PortRecord(name, network, time.monotonic()) for name in names]
        many = len(names) > 1
        body: Json = {"ports": bodies} if many else {"port": bodies[0]}
        answer = self.ask("create ports" if many else "create port", "POST", "ports", body)
        if answer.outcome == REFUSED:
            return []
        self._history.ports.extend(records)
        if answer.outcome == DONE:
            rows = answer.body["ports"] if many else [answer.body["port"]]
        else:
            rows = [row for name in names for row in self.rows("ports", name=name)]
        by_name = {row["name"]: row for row in rows}
        found = [record for record in records if record.name in by_name]
        for record in found:
            _fill(record, by_name[record.name])
        return found

    def delete(self, port: PortRecord) -> None:
        """Delete a port, and ask until that is acknowledged."""
        port.drop_asked = time.monotonic()
        path = f"ports/{port.port_id}"
        self.surely(lambda: self.ask("delete port", "DELETE", path))
        port.dropped = time.monotonic()

    def describe(self, port: PortRecord, text: str) -> None:
        """Change a port's description."""
        before = port.descriptions
        port.descriptions = (*before, text)
        body = {"port": {"description": text}}
        answer = self.ask("update port", "PUT", f"ports/{port.port_id}", body)
        if answer.outcome == DONE:
            port.descriptions = (text,)
        elif answer.outcome == REFUSED:
            port.descriptions = before

    def read(self, port: PortRecord) -> None:
        """Look whether a port is shown."""
        asked = time.monotonic()
        answer = self.ask("show port", "GET", f"ports/{port.port_id}")
        if answer.outcome != UNKNOWN:
            there = answer.outcome == DONE
            self._history.readings.append(Reading(port.port_id, asked, time.monotonic(), there))


def _fill(record: PortRecord, row: Json) -> None:
    record.port_id, record.mac = row["id"], row["mac_address"]
    record.address = row["fixed_ips"][0]["ip_address"] if row["fixed_ips"] else ""
    record.descriptions = (row["description"],)
    record.made = time.monotonic()


def _outcome(status: int) -> str:
    if 200 <= status < 300:
        return DONE
    return REFUSED if 400 <= status < 500 else UNKNOWN
