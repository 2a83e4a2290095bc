"""DHCP requests by the thousand: how many reach the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial

from tests.agent.drivers.frames import BROADCAST
from tests.lab.attacks.attack import Attack, Tally
from tests.lab.attacks.forged import EVERYBODY
from tests.lab.attacks.hosts import Neighbourhood
from tests.lab.attacks.packets import Link, dhcp, fragments, ipv4, udp
from tests.lab.attacks.scene import LIMIT_S
from tests.lab.frames import listening

PROMISE = "DHCP requests are limited by destination port, so a flood costs that VM alone"
RATE, BURST = 20, 40  # a second, and at once; docs/reference/faults.md
COUNT = 3000
DISCOVER = 1
Packets = Callable[[str, bytes], Sequence[bytes]]  # of a message of a VM with this address


def attacks() -> Iterator[Attack[Neighbourhood]]:
    anybody = "0.0.0.0"
    makers: dict[str, tuple[Packets, bool]] = {
        "from port 68": (lambda _, m: [ipv4((anybody, EVERYBODY), udp((68, 67), m))], False),
        "from another port": (lambda own, m: [ipv4((own, EVERYBODY), udp((1068, 67), m))], False),
        "in fragments": (
            lambda own, m: [*fragments((own, EVERYBODY), udp((68, 67), m), 200)],
            True,
        ),
    }
    for name, (make, never) in makers.items():
        finding = "" if name == "from port 68" else "11"
        attempt = partial(_flood, make, never)
        yield Attack(f"{COUNT} DHCP requests {name}", finding, PROMISE, attempt)


def _flood(make: Packets, never: bool, here: Neighbourhood) -> Tally:
    """Send as fast as it goes, then let a neighbour ask once: it must be heard.

    Args:
        make: the packets of one request.
        never: none may reach the server, and not only as many as the limit lets.
    """
    scene = here.scene
    mark, own_mark = here.mark(), here.mark()
    attacker, neighbour = scene.attacker.state, scene.neighbour.state
    [(netns, device), *_] = [here.ways[name] for name in _servers(here)]
    request = dhcp(1, DISCOVER, attacker.mac, xid=0x5EC00000, name=mark)
    link = Link(attacker.mac, BROADCAST)
    frames = [link.ipv4(packet) for packet in make(str(attacker.assigned), request)]
    with closing(scene.packets(scene.attacker)) as sender, listening(netns, device) as server:
        began = time.monotonic()
        for number in range(COUNT):
            for frame in frames:
                sender.send(frame)
            if number % 50 == 0:
                len(server.frames)  # reads the socket, which has room for some only
        with closing(scene.packets(scene.neighbour)) as other:
            asked = dhcp(1, DISCOVER, neighbour.mac, xid=0x5EC00001, name=own_mark)
            packet = ipv4(("0.0.0.0", EVERYBODY), udp((68, 67), asked))
            other.send(Link(neighbour.mac, BROADCAST).ipv4(packet))
        scene.lab.wait_for(
            lambda: any(own_mark in one.content for one in server.frames),
            LIMIT_S,
            "the neighbour's request is heard",
        )
        took_s = time.monotonic() - began
        passed = sum(mark in one.content for one in server.frames)
    allowed = 0 if never else BURST + int(RATE * (took_s + 1))
    return Tally(COUNT, passed, 1, 1, allowed)


def _servers(here: Neighbourhood) -> list[str]:
    return [here.gateway] if here.scene.mode == "flat" else list(here.ways)
