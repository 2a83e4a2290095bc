"""Plugs and unplugs a VIF with os-vif, as nova-compute does: run by .venv-clients' Python.

    python osvif.py plug|unplug PORT-JSON

PORT-JSON is the port as the API shows it, with the binding:vif_type "ovs". What is made of it is
what nova/network/os_vif_util.py makes, a VIFOpenVSwitch with the bridge of binding:vif_details.
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

import os_vif  # type: ignore[import-not-found, unused-ignore]
from os_vif import objects  # type: ignore[import-not-found, unused-ignore]
from oslo_config import cfg
from vif_plug_ovs import privsep  # type: ignore[import-not-found, unused-ignore]


def main() -> None:
    action, port = sys.argv[1], json.loads(sys.argv[2])
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("[os_vif_ovs]\novsdb_connection = unix:/run/openvswitch/db.sock\n")
        file.write("[oslo_concurrency]\nlock_path = /run\n")
        file.flush()
        cfg.CONF(["--config-file", file.name], project="os_vif")
    os_vif.initialize()
    in_this_process()
    instance = objects.instance_info.InstanceInfo(uuid=port["device_id"], name="instance-1")
    getattr(os_vif, action)(vif_of(port), instance)


def in_this_process() -> None:
    """We are root already: no sudo, no daemon."""
    privsep.vif_plug.set_client_mode(False)


def vif_of(port: dict[str, Any]) -> Any:
    details = port["binding:vif_details"]
    network = objects.network.Network(
        id=port["network_id"],
        bridge=details["bridge_name"],
        bridge_interface=None,
        label="net",
        subnets=objects.subnet.SubnetList(objects=[]),
        multi_host=False,
    )
    known = {
        "id": port["id"],
        "address": port["mac_address"],
        "network": network,
        "vif_name": f"tap{port['id'][:11]}",
        "bridge_name": details["bridge_name"],
        "has_traffic_filtering": details["port_filter"],
        "active": port["status"] == "ACTIVE",
    }
    assert not details["ovs_hybrid_plug"]
    profile = objects.vif.VIFPortProfileOpenVSwitch(
        interface_id=port["id"], datapath_type=details["datapath_type"], create_port=True
    )
    return objects.vif.VIFOpenVSwitch(plugin="ovs", port_profile=profile, **known)


main()
