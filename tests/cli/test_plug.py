from __future__ import annotations

import shlex
import xml.etree.ElementTree as ET
from typing import Any

from lessor.cli.plug import instructions, libvirt_xml, qemu_options

TAP: dict[str, str] = {"tap_name": "tap3f2a9c1e-5b"}
PORT: dict[str, Any] = {
    "id": "3f2a9c1e-5b00-4000-8000-000000000001",
    "mac_address": "fa:16:3e:00:00:01",
    "fixed_ips": [{"subnet_id": "s", "ip_address": "10.0.0.2"}],
    "binding:vif_details": TAP,
}


def test_libvirt_is_given_the_tap_that_is_there() -> None:
    interface = ET.fromstring(libvirt_xml(PORT, 1450))  # noqa: S314 - our own text
    assert interface.get("type") == "ethernet"
    found = {child.tag: child.attrib for child in interface}
    assert found["target"] == {"dev": "tap3f2a9c1e-5b", "managed": "no"}
    assert found["mac"] == {"address": "fa:16:3e:00:00:01"}
    assert found["mtu"] == {"size": "1450"}


def test_qemu_is_given_the_tap_that_is_there() -> None:
    assert qemu_options(PORT, 1450).split() == [
        "-netdev",
        "tap,id=net0,ifname=tap3f2a9c1e-5b,script=no,downscript=no",
        "-device",
        "virtio-net-pci,netdev=net0,mac=fa:16:3e:00:00:01,host_mtu=1450",
    ]


def test_the_instructions_name_the_address_that_the_vm_will_get() -> None:
    assert instructions(PORT, 1500).startswith(
        f"port {PORT['id']}: tap3f2a9c1e-5b is ready; its VM will get 10.0.0.2\n"
    )


NETDEV = {**PORT, "binding:vif_details": {**TAP, "datapath_type": "netdev"}}


def test_on_the_userspace_datapath_a_vm_finishes_its_packets_itself() -> None:
    interface = ET.fromstring(libvirt_xml(NETDEV, 1450))  # noqa: S314 - our own text
    host, guest = (interface.find(f"driver/{side}") for side in ("host", "guest"))
    assert host is not None
    assert guest is not None
    assert host.attrib == dict.fromkeys(("csum", "gso", "tso4", "tso6", "ecn", "ufo"), "off")
    assert guest.attrib == dict.fromkeys(("csum", "tso4", "tso6", "ecn", "ufo"), "off")
    device = qemu_options(NETDEV, 1450).split()[-1].split(",")
    assert {"csum=off", "gso=off", "guest_csum=off", "guest_tso4=off"} <= set(device)


def test_on_the_kernels_datapath_it_need_not() -> None:
    system = {**PORT, "binding:vif_details": {**TAP, "datapath_type": "system"}}
    assert "<driver" not in libvirt_xml(system, 1450)
    assert "csum" not in qemu_options(system, 1450)


def test_a_guest_of_an_instance_is_told_where_it_runs() -> None:
    said = instructions(PORT, 1500, instance=True)
    sysinfo = ET.fromstring(said[said.index("<sysinfo") : said.index("</sysinfo>") + 10])  # noqa: S314 - our own
    entries = {one.get("name"): one.text for one in sysinfo.findall("system/entry")}
    assert entries == {"manufacturer": "OpenStack Foundation", "product": "OpenStack Nova"}
    assert '<smbios mode="sysinfo"/>' in said
    assert shlex.split(said.splitlines()[-1]) == [
        "-smbios",
        "type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova",
    ]
    assert "smbios" not in instructions(PORT, 1500)
