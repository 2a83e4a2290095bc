import json

from lessor.agent.drops import SAID_S, DropWatch
from lessor.core.desired import Desired
from lessor.core.state import HostState
from lessor.errors import CommandError
from tests.core.test_flat import HERE, plan


class Nft:
    """nft with one counter, which may be missing."""

    packets: int | None = 0

    def __init__(self, tap: str) -> None:
        self.name = f"flood_dhcp_{tap}"

    def __call__(self, *_: str, **__: object) -> str:
        if self.packets is None:
            raise CommandError("no such table")
        row = {"counter": {"name": self.name, "packets": self.packets}}
        return json.dumps({"nftables": [row]})


def test_a_port_that_floods_is_said_until_ten_minutes_after_it_stopped() -> None:
    part = plan("net", HERE)
    (tap,) = part.taps
    desired = Desired(HostState(taps={tap.name: tap}), (part,))
    nft, now = Nft(tap.name), [0.0]
    watch = DropWatch(nft, None, lambda: now[0])
    nft.packets = None
    assert not list(watch.problems(desired))
    nft.packets = 7
    (said,) = watch.problems(desired)
    assert tap.port_id in said
    assert watch.counts()["dhcp_requests_dropped"] == 7
    now[0] = SAID_S / 2
    assert list(watch.problems(desired)) == [said]
    for now[0] in (SAID_S + 1, 2 * SAID_S):
        watch.problems(desired)
        last = list(watch.problems(desired))
    assert last == []


def test_a_host_without_networks_asks_nobody() -> None:
    nft = Nft("tap1")
    nft.packets = None
    watch = DropWatch(nft, None)
    assert not list(watch.problems(Desired(HostState())))
    assert watch.counts()["dhcp_answers_dropped"] == 0
