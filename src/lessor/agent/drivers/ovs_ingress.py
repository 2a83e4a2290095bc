"""Drops what VMs send from the host's own way where OVS switches in userspace.

Why, and the mark: see `lessor.core.firewall.ovs_ingress`. A chain goes with its device, or waits
for it.
"""

from __future__ import annotations

from collections.abc import Collection

from lessor.agent.host.run import Run
from lessor.core.firewall import ovs_ingress
from lessor.errors import CommandError


class OvsIngress:
    """Adds and removes the chains.

    Args:
        run: runs nft.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def devices(self) -> set[str]:
        """Return the devices that are closed."""
        try:
            listing = self._run("nft", "list", "table", *ovs_ingress.TABLE.split())
        except CommandError:  # there is no such table
            return set()
        return ovs_ingress.devices(listing)

    def change(self, close: Collection[str], forget: Collection[str] = ()) -> None:
        """Close devices, and forget others; those that are in sync are left alone.

        Raises:
            CommandError: nft refused; nothing was changed.
        """
        present = self.devices()
        add, remove = set(close) - present, set(forget) & present
        if add or remove:
            self._run("nft", "-f", "-", stdin=ovs_ingress.changes(add, remove))
