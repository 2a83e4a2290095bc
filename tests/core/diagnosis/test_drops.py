from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from lessor.core.diagnosis.drop_flows import refused, total
from lessor.core.diagnosis.drops import FEWEST, Ongoing, PortHere, port_sentences, wire_problems
from lessor.core.offences import Count, Offence, Reason
from lessor.core.vmport import PortSecurity, allowed
from lessor.model import AddressPair, FixedIp, Network, Port, Problem

MAC, WRONG, SERVER = "fa:16:3e:00:00:01", "02:00:00:00:00:99", "0e:00:00:00:00:01"
PAIRS = (
    AddressPair(IPv4Network("10.9.0.0/24")),
    AddressPair(IPv4Network("10.0.0.9"), "00:00:5e:00:01:01"),
)
PORT = Port(
    id="p1",
    network_id="n",
    mac_address=MAC,
    binding_host="cmp1",
    fixed_ips=(FixedIp("s", IPv4Address("10.0.0.2")),),
)
AT = 1795881097.0  # 15:51:37 UTC
PRINTED = """\
 cookie=0x4c, duration=2s, table=90, n_packets=3, n_bytes=0, priority=1,reg0=0x1,in_port="tap1" actions=drop
 cookie=0x4c, duration=2s, table=90, n_packets=4, n_bytes=0, priority=1,reg0=0x2,in_port=tap1 actions=drop
 cookie=0x4c, duration=2s, table=90, n_packets=0, n_bytes=0, priority=1,reg0=0x3,in_port="vnet0" actions=drop
 cookie=0x4c, duration=2s, table=90, n_packets=9, n_bytes=0, priority=0 actions=drop
"""


def security(port: Port) -> PortSecurity:
    return PortSecurity("tap1", "br100", port.mac_address, *allowed(port))


def said(*offences: Offence, port: Port = PORT, packets: int = 23) -> list[str]:
    ports = {"tap1": PortHere(port, security(port))}
    return list(port_sentences({one: Ongoing(packets, AT) for one in offences}, ports))


def changed(port: Port, **fields: object) -> Port:
    names = {name: getattr(port, name) for name in Port.__slots__}
    return Port(**{**names, **fields})


def test_flows_that_refuse_are_counted_by_tap_and_reason() -> None:
    assert refused(PRINTED) == {
        Offence("tap1", Reason.MAC): Count(3),
        Offence("tap1", Reason.SOURCE): Count(4),
        Offence("vnet0", Reason.ANSWER): Count(0),
    }


def test_the_sum_of_an_aggregate_is_read() -> None:
    printed = "NXST_AGGREGATE reply (xid=0x4): packet_count=27 byte_count=2700 flow_count=9\n"
    assert total(printed) == 27


def test_a_wrong_mac_is_said_with_both_and_the_command_that_helps() -> None:
    (sentence,) = said(Offence("tap1", Reason.MAC, WRONG))
    assert sentence == (
        f"port p1 (tap1): VM sends as {WRONG}, the port is {MAC} (23 frames dropped, the last at "
        f"15:51:37 UTC); set the VM's NIC, or, if you gave it that MAC, "
        f'`lessor port set p1 --host ""` and then '
        f"`lessor port set p1 --mac {WRONG} --host cmp1`"
    )


def test_a_wrong_mac_that_nobody_heard_is_said_without_it() -> None:
    (sentence,) = said(Offence("tap1", Reason.MAC))
    assert f"another MAC than the port's {MAC} (23 frames" in sentence


def test_a_wrong_address_is_said_with_the_command_that_keeps_what_is_allowed() -> None:
    strange = Offence("tap1", Reason.SOURCE, MAC, "10.0.0.77")
    (sentence,) = said(strange)
    assert sentence == (
        "port p1 (tap1): VM sends from 10.0.0.77, the port has 10.0.0.2 (23 dropped, the last at "
        "15:51:37 UTC); use DHCP in the VM, or, if you gave it that address, "
        "`lessor port set p1 --allowed-address 10.0.0.77`"
    )
    (sentence,) = said(strange, port=changed(PORT, allowed_address_pairs=PAIRS))
    options = "10.9.0.0/24 --allowed-address 10.0.0.9,00:00:5e:00:01:01 --allowed-address 10.0.0.77"
    assert f"--allowed-address {options}`" in sentence


@pytest.mark.parametrize("address", ["0.0.0.0", "169.254.7.7", "127.0.0.1", "10.0.0.2", ""])
def test_what_is_no_wrong_address_is_not_said(address: str) -> None:
    """A host without an address, one that has found none, and the port's by now."""
    assert said(Offence("tap1", Reason.SOURCE, MAC, address)) == []


def test_what_the_port_may_by_now_is_not_said() -> None:
    port = changed(PORT, mac_address=WRONG)
    assert said(Offence("tap1", Reason.MAC, WRONG), port=port) == []
    strange = Offence("tap1", Reason.SOURCE, MAC, "10.9.0.7")
    assert said(strange, port=changed(PORT, allowed_address_pairs=PAIRS)) == []
    assert said(strange, port=changed(PORT, port_security_enabled=False)) == []


def test_a_stray_frame_is_not_said_and_a_single_dhcp_answer_is() -> None:
    stray = Offence("tap1", Reason.MAC, WRONG), Offence("tap1", Reason.SOURCE, MAC, "172.17.0.2")
    assert said(*stray, packets=FEWEST - 1) == []
    assert len(said(Offence("tap1", Reason.ANSWER), packets=1)) == 1


def test_a_wrong_address_of_before_the_port_had_its_mac_is_no_wrong_mac() -> None:
    assert said(Offence("tap1", Reason.SOURCE, WRONG, "10.0.0.2")) == []
    assert len(said(Offence("tap1", Reason.MAC, WRONG))) == 1
    assert len(said(Offence("tap1", Reason.MAC))) == 1, "another one, not known which"


def test_one_sentence_a_port_and_reason() -> None:
    many = (Offence("tap1", Reason.MAC, f"02:00:00:00:00:{n:02x}") for n in range(50))
    assert len(said(*many, Offence("tap1", Reason.SOURCE, MAC, "10.0.0.77"))) == 2


def test_what_is_done_to_dhcp_is_said() -> None:
    assert [
        one.split(":")[0]
        for one in said(Offence("tap1", Reason.ANSWER), Offence("tap1", Reason.REQUEST))
    ] == [
        "port p1 (tap1) answers DHCP",
        "port p1 (tap1) sends more than 20 DHCP requests a second",
    ]


def test_a_port_that_has_gone_is_not_said() -> None:
    assert list(port_sentences({Offence("tap9", Reason.ANSWER): Ongoing(9, AT)}, {})) == []


BLUE, RED = Network(id="n1", name="blue"), Network(id="n2", name="red")
OTHER = "fa:16:3e:00:00:02"


def wire(*clients: str, address: str = "10.0.0.250", packets: int = 600) -> list[Problem]:
    offences = {
        Offence("", Reason.WIRE, SERVER, address, client): Ongoing(packets, AT)
        for client in clients
    }
    vms = {MAC: BLUE, OTHER: RED}
    return list(wire_problems(offences, vms, {"10.0.0.1"}, {SERVER: "the wire of eth1"}))


def test_a_dhcp_server_on_the_wire_is_said_with_its_mac_and_its_network() -> None:
    (problem,) = wire(MAC)
    assert problem.text.startswith(
        f"a DHCP server at 10.0.0.250 ({SERVER}) answers on the wire of eth1 (network blue): 600 "
        "answers dropped, the last at 15:51:37 UTC; find that MAC on the switch"
    )
    assert (problem.networks, problem.ports) == (("n1",), ())


def test_a_dhcp_server_that_answers_vms_of_two_networks_is_one_problem_of_both() -> None:
    (problem,) = wire(OTHER, MAC)
    assert "(network blue, red): 1200 answers dropped" in problem.text
    assert problem.networks == ("n1", "n2")


def test_a_server_of_another_networks_vms_is_not_rogue() -> None:
    assert wire(WRONG) == []
    assert wire(MAC, address="10.0.0.1") == []
