"""The kinds of objects on a host, each declared once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lessor.agent.drivers import Driver
from lessor.core.diff import Unsound

# Of links, addresses and routes; of Open vSwitch; of names of namespaces; of DHCP servers.
Event = Literal["netlink", "ovs", "netns", "dhcp"]


@dataclass(frozen=True, slots=True)
class Done:
    """The names of what a pass created, replaced and deleted, and that is so afterwards."""

    created: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.created + self.replaced + self.deleted


# Returns whether another program had changed an object that a pass made again. Arguments: the
# object as desired; as found (maybe `Unsound`; None: it was missing); what the pass did, by kind.
IsDrift = Callable[[Any, Any, Mapping[str, Done]], bool]


def _always(_desired: Any, _found: Any, _done: Mapping[str, Done]) -> bool:
    return True


def _of_tap(desired: Any, found: Any, _done: Mapping[str, Done]) -> bool:
    """A tap that a hypervisor makes comes and goes with its VM."""
    return found is not None or bool(desired.managed)


def _of_ovs_port(desired: Any, _found: Any, done: Mapping[str, Done]) -> bool:
    """A VM's port is made again with its tap."""
    return desired.kind != "vif" or desired.name not in done.get("taps", Done()).created


def _of_dhcp_server(_desired: Any, found: Any, _done: Mapping[str, Done]) -> bool:
    """What a server has loaded changes by itself, but not that it is dead or unknown."""
    return found is None or (isinstance(found, Unsound) and not found.value.ranges)


def _of_flows(_desired: Any, _found: Any, done: Mapping[str, Done]) -> bool:
    """A port that is made again has another number."""
    return "ovs_ports" not in done


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What holds for all objects of a kind.

    Attributes:
        deletes: False: what is not desired is left as it is.
        woken_by: events after which objects of this kind may differ.
        altered_by: kinds whose changes alter objects of this one: after one of ours, a difference
            is no drift.
        lasting: False: the objects end with the agent's process, so making them repairs no drift.
        is_drift: whether a difference was another program's change.
    """

    deletes: bool = True
    woken_by: frozenset[Event] = frozenset()
    altered_by: frozenset[str] = frozenset()
    lasting: bool = True
    is_drift: IsDrift = field(default=_always)


def _woken(*events: Event) -> frozenset[Event]:
    return frozenset(events)


# By field of HostState and in its order: the order of creation. Deletion goes against it.
KINDS: Mapping[str, Traits] = {
    "sysctls": Traits(deletes=False, woken_by=_woken("netlink")),
    "bridges": Traits(woken_by=_woken("netlink")),
    "namespaces": Traits(woken_by=_woken("netlink", "netns")),
    "ovs_bridges": Traits(woken_by=_woken("ovs")),
    "dhcp_devices": Traits(
        woken_by=_woken("netlink", "netns"),
        altered_by=frozenset({"namespaces", "ovs_ports"}),
    ),
    "rulesets": Traits(),
    "addresses": Traits(
        woken_by=_woken("netlink"), altered_by=frozenset({"bridges", "dhcp_devices"})
    ),
    # a bridge that was made again leaves the sockets of both servers on the former one
    "dhcp_servers": Traits(
        woken_by=_woken("netlink", "netns", "dhcp"),
        altered_by=frozenset({"bridges", "namespaces", "dhcp_devices", "addresses"}),
        is_drift=_of_dhcp_server,
    ),
    "metadata": Traits(woken_by=_woken("netlink", "netns"), lasting=False),
    "taps": Traits(woken_by=_woken("netlink"), altered_by=frozenset({"bridges"}), is_drift=_of_tap),
    "ovs_ports": Traits(
        woken_by=_woken("netlink", "netns", "ovs"),
        altered_by=frozenset({"ovs_bridges", "taps", "dhcp_devices"}),
        is_drift=_of_ovs_port,
    ),
    "flows": Traits(woken_by=_woken("ovs"), is_drift=_of_flows),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object on this host, with its driver.

    Attributes:
        field: of `HostState`.
        driver: reads and changes the objects.
        traits: what holds for all of them.
        obstacles: returns why nothing of the kind can be looked at now: then it is left alone, and
            no other kind waits for it.
        place: what the obstacles are in the way of, as problems name it.
    """

    field: str
    driver: Driver[Any]
    traits: Traits
    obstacles: Callable[[], Iterable[str]] = tuple
    place: str = ""


def kinds(
    drivers: Mapping[str, Driver[Any]],
    obstacles: Callable[[], Iterable[str]] = tuple,
    place: str = "",
) -> list[Kind]:
    """Return the kinds that a host has drivers of, in the order of creation.

    Args:
        drivers: by kind.
        obstacles: returns why Open vSwitch can't be used, one text a reason.
        place: the bridge that stands for Open vSwitch in problems.
    """
    return [
        Kind(name, drivers[name], traits, obstacles, place)
        if "ovs" in traits.woken_by
        else Kind(name, drivers[name], traits)
        for name, traits in KINDS.items()
        if name in drivers
    ]
