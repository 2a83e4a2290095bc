"""`lessor port plug`: wires a port on this host and prints the options of a hypervisor."""

from __future__ import annotations

import shlex
import time
import xml.etree.ElementTree as ET
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lessor import offloads
from lessor.cli import ask
from lessor.cli.processes import ConfigFile
from lessor.errors import Conflict, LessorError
from lessor.layout import Row
from lessor.printable import printable

if TYPE_CHECKING:
    from lessor.client import Client

POLL_S = 0.2
MANAGED = {"tap": "managed"}  # in a binding's profile: the agent creates the tap
MAKER, PRODUCT = "OpenStack Foundation", "OpenStack Nova"  # cloud-init detects its source by them


class Use(StrEnum):
    """The user of a tap."""

    LIBVIRT = "libvirt"
    QEMU = "qemu"


def tap(port: Row) -> str:
    """Return the name of a port's tap."""
    return str(port["binding:vif_details"].get("tap_name") or f"tap{port['id'][:11]}")


def libvirt_xml(port: Row, mtu: int) -> str:
    """Return the <interface> of a libvirt domain for an existing tap.

    Source: libvirt, domain XML, "Generic ethernet connection" with managed='no'.
    """
    interface = ET.Element("interface", type="ethernet")
    ET.SubElement(interface, "target", dev=tap(port), managed="no")
    ET.SubElement(interface, "mac", address=port["mac_address"])
    ET.SubElement(interface, "mtu", size=str(mtu))
    ET.SubElement(interface, "model", type="virtio")
    if _is_netdev(port):
        driver = ET.SubElement(interface, "driver", name="qemu")
        for side, attributes in offloads.LIBVIRT.items():
            ET.SubElement(driver, side, attributes)
    ET.indent(interface)
    return ET.tostring(interface, encoding="unicode")


def _is_netdev(port: Row) -> bool:
    return bool(port["binding:vif_details"].get("datapath_type") == offloads.NETDEV)


def qemu_options(port: Row, mtu: int) -> str:
    """Return QEMU's options for an existing tap."""
    left = f",{offloads.QEMU}" if _is_netdev(port) else ""
    return (
        f"-netdev tap,id=net0,ifname={tap(port)},script=no,downscript=no "
        f"-device virtio-net-pci,netdev=net0,mac={port['mac_address']},host_mtu={mtu}{left}"
    )


def libvirt_identity() -> str:
    """Return the SMBIOS elements of a libvirt domain that make cloud-init request metadata.

    Source: cloud-init, ds-identify: an unknown product disables cloud-init.
    """
    sysinfo = ET.Element("sysinfo", type="smbios")
    system = ET.SubElement(sysinfo, "system")
    for name, value in (("manufacturer", MAKER), ("product", PRODUCT)):
        ET.SubElement(system, "entry", name=name).text = value
    ET.indent(sysinfo)
    return ET.tostring(sysinfo, encoding="unicode")


def qemu_identity() -> list[str]:
    """Return the SMBIOS options of QEMU that make cloud-init request metadata."""
    return ["-smbios", f"type=1,manufacturer={MAKER},product={PRODUCT}"]


def instructions(port: Row, mtu: int, *, instance: bool = False) -> str:
    """Return the text that explains how to use a plugged port.

    With `instance` it has the options for a guest that reads metadata.
    """
    addresses = ", ".join(fixed["ip_address"] for fixed in port["fixed_ips"])
    return (
        f"port {port['id']}: {tap(port)} is ready; its VM will get {addresses or 'no address'}\n\n"
        f"libvirt:\n{libvirt_xml(port, mtu)}\n\n"
        f"QEMU:\n{qemu_options(port, mtu)}"
    ) + (_identity() if instance else "")


def _identity() -> str:
    return (
        "\n\nThe VM is an instance. For cloud-init to ask for its metadata, besides\n"
        'libvirt, in the domain, and in its <os>: <smbios mode="sysinfo"/>\n'
        f"{libvirt_identity()}\n\n"
        f"QEMU:\n{shlex.join(qemu_identity())}"
    )


def plug(  # noqa: PLR0917 - typer makes the options of the arguments
    port: ask.Key,
    host: Annotated[
        str | None,
        typer.Option(help="Name of the host. Default: this host, by its settings."),
    ] = None,
    config_file: ConfigFile = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the agent.")] = 30,
    move: Annotated[
        bool,
        typer.Option(
            "--move", help="Also if it is plugged on another host: a VM there loses its network."
        ),
    ] = False,
    only: Annotated[
        Use | None,
        typer.Option(metavar="libvirt|qemu", help="Print only its options, for scripts."),
    ] = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Create a port's tap on this host, wait until it is wired, and print how a VM uses it.

    The agent creates a persistent tap and wires it; any hypervisor can open it.
    """
    with ask.client(server) as api:
        row = api.find("ports", port)
        here, profile = host or this_host(config_file), {**row["binding:profile"], **MANAGED}
        wanted = {"binding:host_id": here, "binding:profile": profile}
        if not move:
            _check_unplugged(row, here)
        if any(row[name] != value for name, value in wanted.items()):
            row = api.update("ports", row["id"], wanted)
        with ask.working(f"waiting for {tap(row)} on {wanted['binding:host_id']}"):
            row = _active(api, row["id"], timeout)
        mtu = api.show("networks", row["network_id"])["mtu"]
        instance = bool(row["device_id"] and api.list("instances", {"id": row["device_id"]}))
    if json:
        ask.print_json(
            {
                "port": row,
                "tap": tap(row),
                "mtu": mtu,
                "libvirt": libvirt_xml(row, mtu),
                "libvirt_domain": libvirt_identity() if instance else "",
                "qemu": [*qemu_options(row, mtu).split(), *(qemu_identity() if instance else ())],
            }
        )
    elif only is not None:
        print(printable({Use.LIBVIRT: libvirt_xml, Use.QEMU: qemu_options}[only](row, mtu)))
    else:
        print(printable(instructions(row, mtu, instance=instance)))


def unplug(port: ask.Key, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Unbind a port from its host: the agent there removes the tap that it created."""
    with ask.client(server) as api:
        row = api.find("ports", port)
        profile = {name: v for name, v in row["binding:profile"].items() if name != "tap"}
        row = api.update("ports", row["id"], {"binding:host_id": "", "binding:profile": profile})
    ask.print_row(row, json=json)


def this_host(config_files: list[Path] | None) -> str:
    """Return the name of this host in its agent's settings."""
    from lessor.config.load import load_agent  # noqa: PLC0415 - oslo.config loads slowly

    return load_agent(config_files or (), warn=False).host


def _check_unplugged(port: Row, host: str) -> None:
    """Check that a port isn't plugged on another host.

    Raises:
        Conflict: it is, and a VM there would lose its network.
    """
    other, key = port["binding:host_id"], port["name"] or port["id"]
    plugged = port["binding:profile"].get("tap") == "managed" or port["status"] == "ACTIVE"
    if other not in {"", None, host} and plugged:
        raise Conflict(
            f"port {key} is plugged on {other}: a VM that runs there would lose its network; to "
            f"migrate the VM, lessor port bind {key} --host {host}; otherwise unplug the port "
            "first, or give --move"
        )


def _active(api: Client, port_id: str, timeout_s: float) -> dict[str, Any]:
    """Wait until a port is ACTIVE.

    Raises:
        LessorError: it is not after `timeout_s`; the message has the reason.
    """
    end = time.monotonic() + timeout_s
    while (row := api.show("ports", port_id))["status"] != "ACTIVE":
        if time.monotonic() >= end:
            raise LessorError(
                f"port {port_id} is not wired on {row['binding:host_id']} after {timeout_s:g} s: "
                f"{row['lessor:pending'] or 'its agent has given no reason'}; see `lessor status`"
            )
        time.sleep(POLL_S)
    return row
