"""Open vSwitch on a host of overlay networks: its drivers, and the planner's local VLANs.

Used where `local_ip` is set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lessor.agent.drivers import Driver
from lessor.agent.drivers.dhcp_devices import DhcpDeviceDriver
from lessor.agent.drivers.flows import FlowDriver
from lessor.agent.drivers.namespaces import NamespaceDriver
from lessor.agent.drivers.ovs_bridges import OvsBridgeDriver
from lessor.agent.drivers.ovs_ports import OvsPortDriver
from lessor.agent.host.ovs import Ovsdb, kernel_datapath, rundir, socket_of
from lessor.agent.host.ovs_alive import OvsAlive
from lessor.agent.host.ovs_watch import OvsWatch
from lessor.agent.host.run import TookTooLong, run
from lessor.agent.host.wake import GONE, FolderWatch
from lessor.errors import Unavailable
from lessor.netns import FOLDER
from lessor.settings import AgentSettings


class Overlay:
    """Open vSwitch on this host, and the drivers of overlay networks.

    Args:
        settings: of the agent.
        folder: the agent's own, for its drivers' records.
    """

    def __init__(self, settings: AgentSettings, folder: Path) -> None:
        self._settings = settings
        bridges = (settings.integration_bridge, settings.tunnel_bridge)
        sockets = rundir(settings.ovsdb_connection)
        place = socket_of(settings.ovsdb_connection)
        self.alive = OvsAlive(place, Path(sockets), bridges)
        self._db = Ovsdb(settings.ovsdb_connection, obstacle=self._obstacle)
        self._ports = OvsPortDriver(self._db, run)
        ports = self._ports
        record = folder / "flows.json"
        self._flows = FlowDriver(
            self.run, record, sockets, bridges, names=ports.names, numbers=ports.numbers
        )
        switches = [Path(sockets, f"{bridge}.mgmt") for bridge in bridges]
        self._watch = OvsWatch(self._db, switches, self._flows.verify)
        self.drivers: dict[str, Driver[Any]] = {
            "namespaces": NamespaceDriver(run),
            "ovs_bridges": OvsBridgeDriver(self._db, bridges),
            "dhcp_devices": DhcpDeviceDriver(run),
            "ovs_ports": self._ports,
            "flows": self._flows,
        }

    def run(self, *argv: str, stdin: str | None = None, timeout_s: float = 0) -> str:
        """Run a program that asks ovs-vswitchd; refuse while that does not answer.

        Raises:
            Unavailable: it does not answer.
            CommandError: as `lessor.agent.host.run.Run` says.
        """
        if why := self.alive.switch.obstacle:
            raise Unavailable(why)
        try:
            return run(*argv, stdin=stdin, timeout_s=timeout_s)
        except TookTooLong as error:
            self.alive.switch.suspect(str(error))
            raise

    def _obstacle(self) -> str:
        return next(iter(self.alive.obstacles()), "")

    def vlans(self) -> dict[str, int]:
        """Return the local VLANs that networks have, by network id.

        Raises:
            Unavailable: OVS does not answer.
        """
        return self._ports.vlans()

    def tunnels(self) -> dict[str, Mapping[str, str]]:
        """Return the BFD status of each tunnel, by the address of its other end.

        Raises:
            Unavailable: OVS does not answer.
        """
        return self._ports.tunnels()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener`, in another thread, when something changed in the database."""
        self._db.subscribe(listener)

    def names(self) -> dict[str, str]:
        """Return the real names of ports, by their desired name, where it differs.

        Raises:
            Unavailable: OVS does not answer.
        """
        return self._ports.names()

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed`, in the event loop, after each change in OVS, until cancelled."""
        await self._watch.run(changed)

    def close(self) -> None:
        """Close the connection; OVS goes on."""
        self._db.close()


def datapath_type(settings: AgentSettings) -> str:
    """Return what forwards the packets of this host's Open vSwitch: system or netdev."""
    return settings.datapath_type or ("system" if kernel_datapath() else "netdev")


async def watch_namespaces(look: Callable[[], None]) -> None:
    """Call `look` when a network namespace lost its name; its processes may go on."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    names = FolderWatch(FOLDER, GONE)
    try:
        while True:
            await names.changed()
            look()
    finally:
        names.close()
