"""A real dnsmasq hears only clients that speak for themselves."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from lessor.agent.drivers.dnsmasq.filter import dhcp_socket
from lessor.agent.drivers.dnsmasq.process import Process
from tests.agent.drivers.dnsmasq_host import Host, host_in_namespace, mac, reserve, server
from tests.dhcpclient import ACK, DECLINE, RELEASE, DhcpClient

SO_DETACH_FILTER = 27  # asm-generic/socket.h

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


@pytest.mark.parametrize("kind", [DECLINE, RELEASE])
def test_nobody_gives_up_the_lease_of_another(host: Host, kind: int) -> None:
    host.bring(server(reserve(5), reserve(6)))
    lease = host.lease(5)
    thief = DhcpClient("c1", mac(6), speaks_for=mac(5))
    thief.give_up(kind, lease)
    assert thief.discover(0.3) is None
    thief.close()
    assert str(host.lease(5).address) == "10.0.0.5"
    assert "del" not in {kind for kind, *_ in host.events()}


def test_a_client_may_give_up_its_own(host: Host) -> None:
    host.bring(server(reserve(5), reserve(6)))
    host.client(5).give_up(RELEASE, host.lease(5))
    host.wait_for(lambda: "del" in {kind for kind, *_ in host.events()})
    again = host.client(5).acquire()
    assert again
    assert again.kind == ACK


def test_one_that_an_older_agent_started_hears_no_more_either(host: Host) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    process = Process(host.pid())
    with dhcp_socket(process) as heard:
        heard.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    process.close()
    thief = DhcpClient("c1", mac(6), speaks_for=mac(5))
    assert thief.discover(1.0)
    host.start_agent()
    host.bring(want)
    assert thief.discover(0.3) is None
    thief.close()
