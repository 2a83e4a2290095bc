from ipaddress import IPv4Address

import pytest

from lessor.core.dnsmasq.packets import inform, is_acknowledged, is_answer, version_query

SERVER = IPv4Address("10.0.0.1")
ACK = b"\x02" + inform("fa:16:3e:00:00:05", SERVER, 7)[1:236] + b"\x63\x82\x53\x63\x35\x01\x05\xff"


def test_an_inform_has_the_servers_address_the_mac_and_the_number() -> None:
    packet = inform("fa:16:3e:00:00:05", SERVER, 0x1234)
    assert packet[:8] == b"\x01\x01\x06\x00\x00\x00\x12\x34"
    assert packet[12:16] == SERVER.packed
    assert packet[28:34] == bytes.fromhex("fa163e000005")
    assert packet[236:243] == b"\x63\x82\x53\x63\x35\x01\x08"


@pytest.mark.parametrize(
    ("packet", "taken"),
    [
        pytest.param(ACK, True, id="ack"),
        pytest.param(ACK[:242] + b"\x06\xff", False, id="nak"),
        pytest.param(ACK[:200], False, id="cut"),
        pytest.param(b"", False, id="empty"),
        pytest.param(inform("fa:16:3e:00:00:05", SERVER, 7), False, id="the-request"),
        pytest.param(b"\x02\x01\x06\x00\x00\x00\x00\x08" + ACK[8:], False, id="other-number"),
    ],
)
def test_only_the_ack_of_this_inform_counts(packet: bytes, taken: bool) -> None:
    assert is_acknowledged(packet, 7) is taken


@pytest.mark.parametrize(
    ("packet", "taken"),
    [
        pytest.param(b"\x00\x07\x85\x80" + version_query(7)[4:], True, id="answer"),
        pytest.param(b"\x00\x07\x81\x05" + bytes(8), True, id="refusal"),
        pytest.param(version_query(7), False, id="the-query"),
        pytest.param(b"\x00\x08\x85\x80" + bytes(8), False, id="other-number"),
        pytest.param(b"\x00\x07\x85", False, id="cut"),
    ],
)
def test_any_dns_answer_of_that_number_counts(packet: bytes, taken: bool) -> None:
    assert is_answer(packet, 7) is taken
