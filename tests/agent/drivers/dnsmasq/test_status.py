"""The status of a dnsmasq is read from the host, not from the driver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lessor.agent.drivers.dnsmasq.status import status
from tests.agent.drivers.dnsmasq_host import Host, host_in_namespace, mac, reserve, server

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


def test_a_running_server_has_its_process_and_reservations(host: Host) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    host.once(server(reserve(5), reserve(6), reserve(7)))  # in a file of its own
    found = status(host.root, want)
    assert (found.serves, found.process) == (True, f"pid {host.pid()}")
    assert found.reservations == {(mac(n), f"10.0.0.{n}") for n in (5, 6, 7)}
    assert found.store == ("dnsmasq files", str(host.root / want.name))


def test_a_dead_server_and_a_strangers_process_are_nothing(host: Host) -> None:
    want = server(reserve(5))
    host.bring(want)
    host.kill()
    assert (status(host.root, want).process, status(host.root, want).serves) == ("", False)
    (host.root / want.name / "pid").write_text("1\n")
    assert status(host.root, want).process == ""


def test_a_server_in_another_namespace_does_not_serve(host: Host) -> None:
    want = server(reserve(5))
    host.bring(want)
    found = status(host.root, server(reserve(5), namespace="qdhcp-nowhere"))
    assert (found.serves, found.process) == (False, f"pid {host.pid()}, in another namespace")
