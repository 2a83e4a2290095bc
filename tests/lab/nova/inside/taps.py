"""A hypervisor without VMs whose network interfaces are real: nova.virt.taps.TapDriver.

The guests are those of Nova's FakeDriver, which plugs nothing and waits for nothing. Here the VIF
driver of Nova's libvirt driver plugs and unplugs them, at the same points of a VM's life, and a
guest runs only when `network-vif-plugged` has come, as libvirt's `_create_guest_with_network` has
it. Nobody opens the taps.

Runs in Nova's own environment (compute.py), so nothing of Lessor is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import nova.conf
import nova.privsep
from nova import exception
from nova.objects.migrate_data import VIFMigrateData
from nova.virt import fake
from nova.virt.libvirt.vif import LibvirtGenericVIFDriver
from vif_plug_ovs.privsep import vif_plug

CONF = nova.conf.CONF
EVENT = "network-vif-plugged"


class TapDriver(fake.FakeDriver):  # type: ignore[misc]  # Nova has no types
    """FakeDriver with taps."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        super().__init__(virtapi, read_only)
        self._plugs = LibvirtGenericVIFDriver()
        for privileged in (nova.privsep.sys_admin_pctxt, vif_plug):
            privileged.set_client_mode(False)  # we are root: no sudo, no daemon

    def plug_vifs(self, instance: Any, network_info: Iterable[Any] | None) -> None:
        for vif in network_info or ():
            self._plugs.plug(instance, vif)

    def unplug_vifs(self, instance: Any, network_info: Iterable[Any] | None) -> None:
        for vif in network_info or ():
            self._plugs.unplug(instance, vif)

    def spawn(  # noqa: PLR0917 - Nova's signature
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: Any,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Any = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        vifs = list(network_info or ())
        events = [(EVENT, vif["id"]) for vif in vifs if vif.get("active", True) is False]
        try:
            with self.virtapi.wait_for_instance_event(
                instance, events, timeout=CONF.vif_plugging_timeout, error_callback=_failed
            ):
                self.plug_vifs(instance, vifs)
        except exception.InstanceEventTimeout:
            if CONF.vif_plugging_is_fatal:
                self.unplug_vifs(instance, vifs)
                raise exception.VirtualInterfaceCreateException from None
        super().spawn(
            context, instance, image_meta, injected_files, admin_password, allocations,
            network_info, block_device_info, power_on, accel_info,
        )  # fmt: skip

    def destroy(
        self, context: Any, instance: Any, network_info: Any, *args: Any, **kwargs: Any
    ) -> None:
        super().destroy(context, instance, network_info, *args, **kwargs)
        self.unplug_vifs(instance, network_info)

    def attach_interface(self, context: Any, instance: Any, image_meta: Any, vif: Any) -> None:
        self._plugs.plug(instance, vif)
        super().attach_interface(context, instance, image_meta, vif)

    def detach_interface(self, context: Any, instance: Any, vif: Any) -> None:
        super().detach_interface(context, instance, vif)
        self._plugs.unplug(instance, vif)

    # --- live migration: plugged at the destination first, then unplugged at the source -----------

    def check_can_live_migrate_destination(
        self, context: Any, instance: Any, *args: Any, **kwargs: Any
    ) -> Any:
        data = super().check_can_live_migrate_destination(context, instance, *args, **kwargs)
        data.vifs = VIFMigrateData.create_skeleton_migrate_vifs(instance.get_network_info())
        for vif in data.vifs:
            vif.supports_os_vif_delegation = True  # else os-vif makes no port here
        return data

    def pre_live_migration(  # noqa: PLR0917 - Nova's signature
        self,
        context: Any,
        instance: Any,
        block_device_info: Any,
        network_info: Any,
        disk_info: Any,
        migrate_data: Any,
    ) -> Any:
        self.plug_vifs(instance, [vif.get_dest_vif() for vif in migrate_data.vifs])
        return super().pre_live_migration(
            context, instance, block_device_info, network_info, disk_info, migrate_data
        )

    def rollback_live_migration_at_destination(
        self, _context: Any, instance: Any, network_info: Any, *_: Any, **__: Any
    ) -> None:
        self.unplug_vifs(instance, network_info)

    def post_live_migration(self, context: Any, instance: Any, *_: Any, **__: Any) -> None:
        super().destroy(context, instance, None)  # FakeDriver keeps the guest at its source

    def post_live_migration_at_source(
        self, _context: Any, instance: Any, network_info: Any
    ) -> None:
        self.unplug_vifs(instance, network_info)

    def post_live_migration_at_destination(
        self, context: Any, instance: Any, network_info: Any, *_: Any, **__: Any
    ) -> None:
        nothing = (None,) * 4
        super().spawn(context, instance, *nothing, network_info)


def _failed(name: str, instance: Any) -> None:
    if CONF.vif_plugging_is_fatal:
        raise exception.VirtualInterfaceCreateException
