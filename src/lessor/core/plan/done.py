"""Which networks are done on a host: what was removed of them serves and admits no VM any more.

The server gives an address to another port when the hosts concerned have said so. So it is not
enough that a DHCP server has lost a reservation: as long as the tap, its guard or its flows are
there, the VM goes on with its address.
"""

from __future__ import annotations

from collections.abc import Iterable

from lessor.core.plan.desired import Desired
from lessor.core.plan.serving import Failure
from lessor.model import View

SERVERS = ("dhcp_servers", "addresses")
WAYS = (
    *("taps", "rulesets", "ovs_bridges", "ovs_ports", "flows"),  # of a VM's frames
    *("namespaces", "dhcp_devices"),  # of a DHCP server's own address
)


def is_settled(failures: Iterable[Failure]) -> bool:
    """Tell whether the host is as its view says, also for networks that it left."""
    return not any(_counts(one) for one in failures)


def networks_done(view: View, desired: Desired, failures: Iterable[Failure]) -> dict[str, int]:
    """Return the networks that are done here, each with the revision up to which it is.

    A failure of a thing that is still desired concerns its own network. One of a thing that is not,
    or of many things at once, may concern any.
    """
    failed = [one for one in failures if _counts(one)]
    if not failed:
        return {key: scope.revision for key, scope in view.scopes.items()}
    network_of = _networks(desired)
    undone = {network for one in failed for network in network_of.get(one.name, view.scopes.keys())}
    return {key: s.revision for key, s in view.scopes.items() if key not in undone}


def _counts(one: Failure) -> bool:
    """Return whether a failure counts: not that of a tap which a hypervisor has yet to make."""
    return one.kind in SERVERS or (one.kind in WAYS and not one.waits)


def _networks(desired: Desired) -> dict[str, set[str]]:
    """Return the networks that a failure of a thing concerns, by the thing's name."""
    found: dict[str, set[str]] = {}
    for plan in desired.plans:
        state, network = plan.state, plan.network.id
        for name in (network, *state.bridges, *state.dhcp_servers, *state.taps):
            found.setdefault(name, set()).add(network)
    return found
