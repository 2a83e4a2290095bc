"""What can be asked of a host whether or not its agent runs: `lessor agent plan` and the like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from lessor.agent.basis import Basis, basis, located
from lessor.agent.diagnosis.tour import tour
from lessor.agent.host.run import run
from lessor.agent.kit import agent_kit, dhcp_program, folder, lease_parts
from lessor.agent.overlay import Overlay
from lessor.agent.planner import HostPlanner
from lessor.agent.reconcile import Reconciler
from lessor.agent.server import follow
from lessor.core.diff import Changes
from lessor.core.state import DhcpServer
from lessor.errors import NotFound
from lessor.model import HostTour
from lessor.net.address import Address, place, read_address
from lessor.settings import AgentSettings


def plan(
    settings: AgentSettings, *, chosen: bool = False, own: bool = False
) -> tuple[Basis, list[str]]:
    """Return what an agent would change on this host for its last view, a line an object.

    Args:
        settings: of this call.
        chosen: whether `state_dir` was given for this call; else the running agent's is taken.
        own: whether other settings were; else all of the running agent's are taken.

    Raises:
        NotFound: this host never had a view.
    """
    settings = located(settings, chosen=chosen, own=own)
    known, stored = basis(settings)
    kit = agent_kit(settings, lease_parts(settings), _NoServer(), metadata=None)
    reconciler = Reconciler(kit.kinds)
    changes = reconciler.plan(kit.planner.plan(stored.view).state)
    kit.close()
    lines: list[str] = []
    for kind, found in changes.items():
        lines += _lines(kind, found)
        lines += [f"! {kind} {why}" for why in reconciler.faults(kind)]
    return known, lines


def look_around(
    settings: AgentSettings, network: str, *, chosen: bool = False, own: bool = False
) -> tuple[Basis, HostTour]:
    """Return the status of a network on this host, by the last view; the agent needn't run.

    Args:
        settings: of this call.
        network: its id or name.
        chosen: as for `plan`.
        own: as for `plan`.

    Raises:
        NotFound: this host never had a view, or it doesn't have the network.
    """
    settings = located(settings, chosen=chosen, own=own)
    known, stored = basis(settings)
    found = [
        key for key, scope in stored.view.scopes.items() if network in {key, scope.network.name}
    ]
    if len(found) != 1:
        many = f"; {len(found)} have that name, give an id" if found else ""
        raise NotFound(f"this host's view has no one network {network}{many}")
    overlay = Overlay(settings, folder(settings)) if settings.local_ip else None
    desired = HostPlanner(settings, overlay).plan(stored.view)
    dhcp = dhcp_program(settings)
    pieces = tour(found[0], stored.view, desired, settings, run=run, dhcp=dhcp.status)
    if overlay:
        overlay.close()
    return known, HostTour(host=settings.host, pieces=pieces)


def reservations(
    settings: AgentSettings, server: str, *, chosen: bool = False, own: bool = False
) -> tuple[bool, list[tuple[str, str]]]:
    """Return whether a DHCP server of this host runs, and MAC and address of its reservations.

    Args:
        settings: of this call.
        server: its name.
        chosen: as for `plan`.
        own: as for `plan`.
    """
    settings = located(settings, chosen=chosen, own=own)
    found = dhcp_program(settings).status(DhcpServer(server, server, (), {}))
    ordered = sorted(found.reservations, key=lambda one: place(read_address(one[1])))
    return bool(found.process), ordered


def accept(settings: AgentSettings) -> str:
    """Accept the store that was last offered and refused; return its epoch.

    Raises:
        NotFound: none was.
    """
    epoch = follow.accept(folder(settings))
    if epoch is None:
        raise NotFound("no other store was offered: the agent follows the one it knows")
    return epoch


class _NoServer:
    """Stands for the server, which is asked nothing here."""

    addresses: tuple[Address, ...] = ()
    known_leases = None

    def reachable(self) -> bool:
        return False


def _lines(kind: str, changes: Changes[Any]) -> Iterable[str]:
    for sign, values in (("+", changes.create), ("~", changes.replace), ("-", changes.delete)):
        for value in values:
            shown = (f"{f.name}={_short(getattr(value, f.name))}" for f in fields(value))
            yield f"{sign} {kind} {' '.join(shown)}"


def _short(value: object) -> str:
    text = str(value) if not isinstance(value, dict | tuple) else f"({len(value)})"
    lines = text.splitlines()
    return text if len(lines) <= 1 else f"({len(lines)} lines)"
