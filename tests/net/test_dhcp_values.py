from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.errors import Invalid
from lessor.net.dhcp_options import find
from lessor.net.dhcp_values import addresses, domains, encode, number, routes

OWN = IPv4Address("10.0.0.2")
HOP = IPv4Address("192.0.2.1")


@pytest.mark.parametrize(
    ("block", "descriptor"),
    [  # RFC 3442, the table of its section on classless routes
        ("0.0.0.0/0", [0]),
        ("10.0.0.0/8", [8, 10]),
        ("10.0.0.0/24", [24, 10, 0, 0]),
        ("10.17.0.0/16", [16, 10, 17]),
        ("10.27.129.0/24", [24, 10, 27, 129]),
        ("10.229.0.128/25", [25, 10, 229, 0, 128]),
        ("10.198.122.47/32", [32, 10, 198, 122, 47]),
    ],
)
def test_a_destination_has_only_the_bytes_that_its_prefix_covers(
    block: str, descriptor: list[int]
) -> None:
    assert routes([(IPv4Network(block), HOP)]) == bytes(descriptor) + HOP.packed
    assert encode(find("121"), f"{block},{HOP}", OWN) == bytes(descriptor) + HOP.packed


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(
            ["eng.apple.com.", "marketing.apple.com."],
            b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04",
            id="rfc-3397",
        ),
        pytest.param(
            ["F.ISI.ARPA", "FOO.F.ISI.ARPA", "ARPA", "."],
            b"\x01F\x03ISI\x04ARPA\0\x03FOO\xc0\x00\xc0\x06\0",
            id="rfc-1035-4.1.4",
        ),
        pytest.param(["a.b", "a.b"], b"\x01a\x01b\0\xc0\x00", id="twice"),
    ],
)
def test_names_are_compressed_by_those_before_them(names: list[str], expected: bytes) -> None:
    assert domains(names) == expected
    assert encode(find("domain-search"), ",".join(names), OWN) == expected


@pytest.mark.parametrize("name", ["", "a..b", "a" * 64, "ü.example", "a.example.."])
def test_what_is_no_domain_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="is no domain"):
        domains([name])


def unpacked(packed: bytes) -> list[str]:
    """Read names as a client does: pointers lead back."""
    names, at = [], 0
    while at < len(packed):
        labels: list[str] = []
        place, at = at, 0
        while length := packed[place]:
            if length >= 0xC0:
                at = at or place + 2
                place = int.from_bytes(packed[place : place + 2], "big") & 0x3FFF
            else:
                labels.append(packed[place + 1 : place + 1 + length].decode())
                place += 1 + length
        at = at or place + 1
        names.append(".".join(labels))
    return names


LABEL = st.sampled_from(["a", "b", "example", "net"])


@given(st.lists(st.lists(LABEL, min_size=1, max_size=4).map(".".join), max_size=8))
def test_a_client_reads_the_names_that_were_packed(names: list[str]) -> None:
    assert unpacked(domains(names)) == names


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param("router", "10.0.0.1, 0.0.0.0", "0a0000010a000002", id="zero-is-the-server"),
        pytest.param("time-offset", "-18000", "ffffb9b0", id="rfc-2132-signed"),
        pytest.param("time-offset", "3600", "00000e10", id="signed-positive"),
        pytest.param("mtu", "1450", "05aa", id="two-bytes"),
        pytest.param("mtu", "05:aa", "05aa", id="number-by-bytes"),
        pytest.param("ip-forward-enable", "1", "01", id="flag"),
        pytest.param("arp-timeout", "60", "0000003c", id="four-bytes"),
        pytest.param("ipv6-only", "1800", "00000708", id="rfc-8925"),
        pytest.param("T1", "90", "0000005a", id="seconds"),
        pytest.param("T2", "2h", "00001c20", id="hours"),
        pytest.param("domain-name", "10.0.0.1", b"10.0.0.1".hex(), id="text-of-digits"),
        pytest.param("root-path", "a,b", b"a,b".hex(), id="text-with-a-comma"),
        pytest.param("bootfile-name", "a,b", b"a,b\0".hex(), id="text-with-a-zero"),
        pytest.param("netbios-scope", "10.0.0.1, 10.0.0.2", "0a0000010a000002", id="spaces"),
        pytest.param(
            "sip-server", "10.0.0.0,10.0.0.1", "010a0000000a000001", id="rfc-3361-addresses"
        ),
        pytest.param(
            "sip-server",
            "example.com,example.net",
            (b"\0\x07example\x03com\0\x07example\x03net\0").hex(),
            id="rfc-3361-names",
        ),
        pytest.param("client-arch", "7", "0007", id="rfc-4578-arch"),
        pytest.param("tftp-server-address", "10.0.0.9", "0a000009", id="rfc-5859"),
        pytest.param("43", "01:04:c0:00:02:01", "0104c0000201", id="bytes"),
        pytest.param("224", "7", "07", id="small-number"),
        pytest.param("224", "700", "02bc", id="number-of-two"),
        pytest.param("224", "70000", "00011170", id="number-of-four"),
        pytest.param("224", "7s", "0007", id="number-with-its-size"),
        pytest.param("224", "10.0.0.1,10.0.0.2", "0a0000010a000002", id="addresses"),
        pytest.param("224", "words", b"words".hex(), id="words"),
        pytest.param("server-ip-address", "10.0.0.9", "0a000009", id="siaddr"),
    ],
)
def test_text_is_encoded_as_the_option_has_it(name: str, text: str, expected: str) -> None:
    assert encode(find(name), text, OWN).hex() == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("router", "10.0.0"),
        ("router", "here"),
        ("mtu", "70000"),
        ("mtu", "words"),
        ("T1", "soon"),
        ("domain-search", "a..b"),
        ("sip-server", "a..b"),
        ("224", "1.2.3"),
        ("121", "10.0.0.0/33,10.0.0.1"),
        ("224", "5000000000"),
    ],
)
def test_text_of_another_form_is_refused_with_the_option(name: str, text: str) -> None:
    shown = find(name).name or name
    with pytest.raises(Invalid, match=f"DHCP option {shown}: '{text}'"):
        encode(find(name), text, OWN)


def test_values_of_ranges_are_encoded_without_text() -> None:
    assert addresses([OWN, HOP]) == OWN.packed + HOP.packed
    assert number(1450, 2) == b"\x05\xaa"
    with pytest.raises(Invalid, match="no number of 1 bytes"):
        number(300, 1)
