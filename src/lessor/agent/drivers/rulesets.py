"""Manages the host's firewall rules.

Ours are nftables tables `bridge lessor`, `inet lessor`, `inet lessor_host` and `arp lessor_host`,
and iptables chains named `lessor-...` with the jumps to them from built-in chains. No other
table, chain or rule is changed.

nft and iptables print rules in their own form, so what was applied is stored in a file, with a
digest of what they printed afterwards: as long as they print the same, that text is in force. If
the file is lost, the rules are applied once more.

To list a table with hundreds of taps takes longer than to change it. The kernel counts changes of
nftables (their generation): as long as only we made changes, tables that were in sync still are.
Then nothing is listed, and the digest of what was applied is taken at the next full look
(`verify`). A foreign change in between makes it unknown: the table is applied once more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lessor.agent.host import unwritten
from lessor.agent.host.atomic import atomic_write
from lessor.agent.host.nft import next_generation
from lessor.agent.host.run import Run
from lessor.core.diff import Changes, Unsound
from lessor.core.firewall import (
    gateway_iptables,
    gateway_nft,
    host_guard,
    iptables_edit,
    nft_listing,
    nft_script,
    tap_guard,
)
from lessor.core.state import Ruleset
from lessor.errors import CommandError
from lessor.steps import each

NAMES = (tap_guard.NAME, *host_guard.NAMES, gateway_nft.NAME, gateway_iptables.NAME)
_RESTORE = ("iptables-restore", "--wait=3", "--noflush", "--counters")


class _Applied(NamedTuple):
    """A text that was applied, the digest of the listing, and when it was last in force."""

    text: str
    digest: str = ""  # "": not taken yet
    at: str = ""  # generation; "": not known


class RulesetDriver:
    """Applies rulesets.

    Args:
        run: runs nft and iptables.
        record: the file with what was applied, in the agent's state folder.
        names: the rulesets that may exist on this host; others are not looked for.
        top_regex: iptables_top_regex. Foreign rules that match stay above ours.
        bottom_regex: iptables_bottom_regex. Foreign rules that match stay below ours.
        generation: returns how often nftables was changed (`lessor.agent.host.nft`); "": not known.
    """

    def __init__(
        self,
        run: Run,
        record: Path,
        names: Sequence[str] = NAMES,
        *,
        top_regex: str = "",
        bottom_regex: str = "",
        generation: Callable[[], str] = str,
    ) -> None:
        self._run = run
        self._record = record
        self._names = tuple(names)
        self._regexes = (top_regex, bottom_regex)
        self._generation = generation
        self._applied: dict[str, _Applied] | None = None
        self._verify = True

    def verify(self) -> None:
        """List all tables at the next `observe()`, whatever the kernel's count says."""
        self._verify = True

    def guards(self, tap: str) -> bool:
        """Return whether a tap is in the rules that were applied last."""
        return f'"{tap}"' in self._load().get(tap_guard.NAME, _Applied("")).text

    def observe(self) -> dict[str, Ruleset | Unsound[Ruleset]]:
        """Return our rulesets by name, as they were applied; unsound if they were changed since.

        A new driver looks for all; later only for what it found or applied, to save processes.
        """
        names = self._names if self._applied is None else tuple(self._applied)
        known, now = self._load(), self._generation()
        found: dict[str, Ruleset | Unsound[Ruleset]] = {}
        for name in names:
            if not self._verify and self._is_untouched(name, now):
                found[name] = Ruleset(name, known[name].text)
            elif ruleset := self._look(name, now):
                found[name] = ruleset
        self._verify = False
        return found

    def apply(self, changes: Changes[Ruleset]) -> None:
        """Apply every change; raise one group of the failures."""
        steps = [partial(self._install, ruleset) for ruleset in changes.create + changes.replace]
        steps += [partial(self._remove, ruleset) for ruleset in changes.delete]
        each(steps, "firewall rulesets")

    def _is_untouched(self, name: str, now: str) -> bool:
        """Return whether a table is known to be as it was applied, without listing it."""
        one = self._load().get(name)
        return one is not None and bool(now) and one.at == now

    def _look(self, name: str, now: str) -> Ruleset | Unsound[Ruleset] | None:
        """Return what of ours is in force; None: nothing is."""
        digest = self._digest(name)
        if digest is None:
            return None
        known = self._load()
        last = known.setdefault(name, _Applied(""))
        untaken = not last.digest and self._is_untouched(name, now)
        if not untaken and last.digest != digest:
            known[name] = last._replace(at="")
            return Unsound(Ruleset(name, last.text), f"{name} was changed since it was applied")
        nft = name != gateway_iptables.NAME
        fresh = _Applied(last.text, digest, now if nft and now == self._generation() else "")
        if untaken:
            self._remember(name, fresh)
        known[name] = fresh
        return Ruleset(name, last.text)

    def _install(self, ruleset: Ruleset) -> None:
        """Apply one, and only then remember it: killed in between, it is applied again."""
        if ruleset.name == gateway_iptables.NAME:
            saved = self._run("iptables-save", "-c")
            self._run(*_RESTORE, stdin=iptables_edit.install(saved, ruleset.text, *self._regexes))
            self._remember(ruleset.name, _Applied(ruleset.text, self._digest(ruleset.name) or ""))
        elif not self._change_nft(ruleset):
            now = self._install_nft(_table(ruleset.name), ruleset.text)
            self._remember(ruleset.name, _Applied(ruleset.text, now))

    def _change_nft(self, ruleset: Ruleset) -> bool:
        """Change a table that is as we left it, without listing it; False: not possible."""
        before = self._generation()
        if not self._is_untouched(ruleset.name, before):
            return False
        known, table = self._load(), _table(ruleset.name)
        former = known[ruleset.name].text
        script = nft_script.change(former, ruleset.text)
        stale = nft_listing.undeclared(former, ruleset.text)
        if stale:
            script += nft_listing.deletion(table, stale)
        try:
            self._run("nft", "-f", "-", stdin=script)
        except CommandError:
            return False
        after = self._generation()
        if after != next_generation(before):
            return False  # there was a foreign change, too
        for name, one in known.items():
            if one.at == before:
                known[name] = one._replace(at=after)
        self._remember(ruleset.name, _Applied(ruleset.text, at=after))
        return True

    def _nft(self, script: str) -> None:
        """Run a script; other tables that were in force still are."""
        before = self._generation()
        self._run("nft", "-f", "-", stdin=script)
        after, known = self._generation(), self._load()
        if before and after == next_generation(before):
            for name, one in known.items():
                if one.at == before:
                    known[name] = one._replace(at=after)

    def _install_nft(self, table: str, text: str) -> str:
        try:
            self._nft(text)
        except CommandError:
            # Another program or version declared an object differently: make the table again, at
            # the cost of its counters.
            self._nft(f"add table {table}\ndelete table {table}\n{text}")
        listing = self._run("nft", "-j", "list", "table", *table.split())
        stale = nft_listing.stale(listing, text)
        if stale:
            self._nft(nft_listing.deletion(table, stale))
        return nft_listing.digest(listing, leave_out=stale)

    def _remove(self, ruleset: Ruleset) -> None:
        name = ruleset.name
        if name == gateway_iptables.NAME:
            removal = iptables_edit.remove(self._run("iptables-save", "-c"))
            if removal:
                self._run(*_RESTORE, stdin=removal)
        else:
            table = _table(name)
            self._nft(f"add table {table}\ndelete table {table}\n")
        self._remember(name, None)

    def _digest(self, name: str) -> str | None:
        """Return the digest of what is in force; None: nothing of ours, or no such program."""
        if name == gateway_iptables.NAME:
            return self._iptables_digest()
        listing = self._output("nft", "-j", "list", "table", *_table(name).split())
        return nft_listing.digest(listing) if listing else None

    def _iptables_digest(self) -> str | None:
        lines = iptables_edit.own_lines(self._output("iptables-save"))
        if not lines:
            return None
        text = "\n".join((*lines, *self._regexes))  # other regexes ask for another place
        return hashlib.sha256(text.encode()).hexdigest()

    def _output(self, *argv: str) -> str:
        """Return what a listing prints; "" if there is no such table or program."""
        try:
            return self._run(*argv)
        except CommandError:
            return ""

    def _load(self) -> dict[str, _Applied]:
        if self._applied is None:
            self._applied = _read(self._record)
        return self._applied

    def _remember(self, name: str, known: _Applied | None) -> None:
        all_known = self._load()
        if known is None:
            all_known.pop(name, None)
        else:
            all_known[name] = known
        unwritten.attempt(self._record, self._write)

    def _write(self) -> None:
        atomic_write(self._record, json.dumps(self._load()).encode(), durable=False)


def _read(record: Path) -> dict[str, _Applied]:
    """Return the content of a record; empty if there is none, or it is damaged."""
    try:
        rows = json.loads(record.read_text())
        return {str(name): _Applied(*map(str, one)) for name, one in rows.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _table(name: str) -> str:
    return name.removeprefix("nft ")
