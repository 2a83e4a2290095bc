from __future__ import annotations

import xml.etree.ElementTree as ET

from lessor.cli.plug import instructions, libvirt_xml, qemu_options

PORT = {
    "id": "3f2a9c1e-5b00-4000-8000-000000000001",
    "mac_address": "fa:16:3e:00:00:01",
    "fixed_ips": [{"subnet_id": "s", "ip_address": "10.0.0.2"}],
    "binding:vif_details": {"tap_name": "tap3f2a9c1e-5b"},
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
