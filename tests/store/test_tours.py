"""Questions to hosts how a network is there, and their answers."""

from __future__ import annotations

import pytest

from lessor.errors import NotFound
from lessor.model import HostTour, Piece, ViewRequest
from lessor.store import tours, views
from tests.store.store_cloud import Cloud

PIECE = Piece(what="tap", name="tapa", should="up", found="nothing", ok=False, command="ip link")


def asked_of(cloud: Cloud, host: str, *known: str) -> dict[str, str]:
    return views.answer(cloud.store, host, ViewRequest(tours=known)).tours


def test_hosts_of_a_network_are_asked_until_they_have_answered(cloud: Cloud) -> None:
    for name in ("h1", "h2", "h3"):
        cloud.host(name, network_host=name == "h1")
    network = cloud.network("10.0.0.0/24", host="h1")
    cloud.port(network, "h2")
    asked = cloud.store.write(tours.ask, network.id)
    assert asked.hosts == ("h1", "h2")
    assert asked_of(cloud, "h1") == asked_of(cloud, "h2") == {asked.id: network.id}
    assert asked_of(cloud, "h3") == asked_of(cloud, "h1", asked.id) == {}

    cloud.store.write(tours.answer, "h1", asked.id, [PIECE])
    assert asked_of(cloud, "h1") == {}
    assert cloud.store.read(tours.answers, asked.id) == {"h1": HostTour(host="h1", pieces=(PIECE,))}

    cloud.store.write(tours.end, asked.id)
    assert asked_of(cloud, "h2") == {}
    with pytest.raises(NotFound, match="nobody waits for tour"):
        cloud.store.write(tours.answer, "h2", asked.id, [PIECE])


def test_a_dead_host_is_not_asked_but_named(cloud: Cloud) -> None:
    cloud.host("h1", network_host=True)
    network = cloud.network("10.0.0.0/24", host="h1")
    cloud.clock.now += cloud.settings.agent_down_time + 1
    asked = cloud.store.write(tours.ask, network.id)
    assert asked.hosts == ("h1",)
    assert asked_of(cloud, "h1") == {}


def test_a_question_that_a_dead_server_left_goes_with_a_later_one(cloud: Cloud) -> None:
    cloud.host("h1", network_host=True)
    network = cloud.network("10.0.0.0/24", host="h1")
    cloud.store.write(tours.ask, network.id)
    cloud.clock.now += 301
    cloud.host("h2", network_host=True)
    cloud.store.write(tours.ask, network.id)
    assert asked_of(cloud, "h1") == {}


def test_a_network_that_is_not_there_has_no_tour(cloud: Cloud) -> None:
    with pytest.raises(NotFound):
        cloud.store.write(tours.ask, "nowhere")
