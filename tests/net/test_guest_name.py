from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessor.model import Port
from lessor.net.guest_name import hostname
from lessor.net.labels import is_domain, is_label, label

ADDRESS = IPv4Address("10.0.0.5")


def port(name: str = "", dns_name: str = "") -> Port:
    return Port(
        id="p", network_id="n", mac_address="fa:16:3e:00:00:01", name=name, dns_name=dns_name
    )


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        pytest.param(port(name="web", dns_name="front"), "front", id="dns-name-first"),
        pytest.param(port(dns_name="front.example.org."), "front", id="dns-name-is-fqdn"),
        pytest.param(port(name="My VM_1"), "my-vm-1", id="name-made-a-label"),
        pytest.param(port(name="-- --"), "host-10-0-0-5", id="nothing-usable"),
        pytest.param(port(), "host-10-0-0-5", id="no-name"),
        pytest.param(port(name="86400"), "host-86400", id="digits-are-no-lease-time"),
        pytest.param(port(name="12h"), "host-12h", id="hours-are-no-lease-time"),
        pytest.param(port(name="Ignore"), "host-ignore", id="ignore-is-no-order"),
        pytest.param(port(name="a\nb,c"), "a-b-c", id="no-line-no-field-injected"),
    ],
)
def test_a_vm_is_named_by_the_best_name_there_is(named: Port, expected: str) -> None:
    assert hostname(named, ADDRESS) == expected


def test_seventy_characters_become_sixty_three_as_in_nova() -> None:
    name = "abcdefghij" * 7
    assert label(name) == f"ab-{name[-60:]}"


@given(st.text(), st.text())
def test_whatever_a_user_types_is_one_label(name: str, dns_name: str) -> None:
    assert is_label(hostname(port(name, dns_name), ADDRESS))


@pytest.mark.parametrize("domain", ["", "a b", "x\n", "0.0.5", "a,b", "a" * 64, "a..b"])
def test_a_domain_that_could_be_something_else_is_none(domain: str) -> None:
    assert not is_domain(domain)


def test_a_domain_of_labels_is_one() -> None:
    assert is_domain("vms.Example.org")
