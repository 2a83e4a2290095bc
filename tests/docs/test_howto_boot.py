"""The page about booting over the network: firmware boots as it says."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from lessor.lab.lab import Lab, usual_hosts
from tests.docs.page import steps
from tests.docs.test_howto import PAGES, reader_in
from tests.lab.firmware import Firmware

pytestmark = pytest.mark.lab

TFTP = IPv4Address("10.0.0.9")


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.up(tmp_path_factory.mktemp("boot") / "lab", usual_hosts())
    yield lab
    lab.down()


def test_firmware_boots_as_the_page_about_it_says(lab: Lab) -> None:
    with reader_in(lab) as reader:
        reader.follow(steps((PAGES / "boot-over-the-network.md").read_text()))
        port = lab.api.find("ports", "vm1")
        tap = port["binding:vif_details"]["tap_name"]
        lab.wait_for(lambda: lab.api.find("ports", "vm1")["status"] == "ACTIVE", 30, "vm1 is ready")
        with Firmware(lab.node("cmp1").netns, tap, port["mac_address"]) as firmware:
            booted = firmware.boot()
    assert str(booted.address) == port["fixed_ips"][0]["ip_address"]
    assert (booted.next_server, booted.file) == (TFTP, "install.efi")
    assert booted.to == (b"\xff" * 6, IPv4Address("255.255.255.255")), "it asked for a broadcast"
