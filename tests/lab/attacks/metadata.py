"""Asking the metadata service for what is another VM's."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial

from lessor.errors import Conflict, NotFound
from lessor.lab.netns import in_netns
from lessor.lab.vm import NIC, NetnsVm
from tests.agent.drivers.frames import arp as arp_frame
from tests.lab.attacks.attack import Attack, Tally
from tests.lab.attacks.hosts import Neighbourhood, pair
from tests.lab.attacks.scene import LIMIT_S, Scene
from tests.lab.frames import listening

PROMISE = "who asks for metadata is known by its port, never by its address alone"
FLOOD = "a flood of the metadata service costs that VM alone"
SERVICE = ("169.254.169.254", 80)
SECRET = b"TOP-SECRET-USER-DATA-OF-"
ANSWER_S = 5
CONNECTIONS, PAIRS = 24, 14  # as the review's: of one address, and so many addresses


def attacks() -> Iterator[Attack[Neighbourhood]]:
    for name, headers in {
        "X-Forwarded-For": {"X-Forwarded-For": "{address}"},
        "X-Instance-ID": {"X-Instance-ID": "{instance}", "X-Instance-ID-Signature": "00"},
        "X-Real-IP and Forwarded": {"X-Real-IP": "{address}", "Forwarded": "for={address}"},
    }.items():
        yield Attack(f"asking with {name}", "", PROMISE, partial(_headers, headers))
    yield Attack(
        "asking from a neighbour's address, by an allowed pair", "2", PROMISE, _by_pair, slow=True
    )
    yield Attack("half requests from many addresses", "12", FLOOD, _half_requests, slow=True)


@contextmanager
def secrets(scene: Scene) -> Iterator[None]:
    """Give each VM user data that are nobody else's, and a way to the service."""
    for vm in _vms(scene):
        encoded = base64.b64encode(_secret(vm)).decode()
        body = {"id": vm.state.device_id, "name": vm.state.name, "user_data": encoded}
        with suppress(Conflict):
            scene.lab.api.create("instances", body)
        lease = vm.last_lease()
        assert lease is not None
        vm.exec("ip", "route", "replace", SERVICE[0], "via", str(lease.server), "dev", NIC)
    yield
    for vm in _vms(scene):
        with suppress(NotFound):
            scene.lab.api.delete("instances", vm.state.device_id)


def _vms(scene: Scene) -> tuple[NetnsVm, ...]:
    return scene.attacker, scene.neighbour, scene.remote, scene.stranger


def _secret(vm: NetnsVm) -> bytes:
    return SECRET + vm.state.name.encode()


def ask(vm: NetnsVm, headers: Mapping[str, str] | None = None, source: str = "") -> bytes:
    """Return what the service says to a VM; b"" if nothing."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    request = f"GET /latest/user-data HTTP/1.0\r\nHost: x\r\n{lines}\r\n".encode()
    try:
        with closing(in_netns(vm.netns_path(), lambda: _connected(source))) as client:
            client.sendall(request)
            answer = b""
            while more := client.recv(4096):
                answer += more
            return answer
    except OSError:
        return b""


def _connected(source: str) -> socket.socket:
    return socket.create_connection(SERVICE, ANSWER_S, (source, 0) if source else None)


def _own(scene: Scene) -> tuple[int, int]:
    """Each VM is told its own."""
    vms = _vms(scene)
    return len(vms), sum(_secret(vm) in ask(vm) for vm in vms)


def _headers(headers: Mapping[str, str], here: Neighbourhood) -> Tally:
    scene = here.scene
    controls = _own(scene)
    victims = (scene.neighbour, scene.remote, scene.stranger)
    passed = 0
    for victim in victims:
        words = {"address": str(victim.state.assigned), "instance": victim.state.device_id}
        filled = {name: value.format(**words) for name, value in headers.items()}
        passed += _secret(victim) in ask(scene.attacker, filled)
    return Tally(len(victims), passed, *controls)


def _by_pair(here: Neighbourhood) -> Tally:
    """Ask as another VM whose address an administrator allowed this port to use as well."""
    scene = here.scene
    controls = _own(scene)
    victims = [scene.neighbour, scene.remote]
    victims += [scene.stranger] if scene.mode == "flat" else []  # on one bridge with it
    passed: list[str] = []
    for victim in victims:
        address = str(victim.state.assigned)
        with pair(scene, scene.attacker, address):
            scene.lab.wait_for(lambda a=address: _announced(scene, a), LIMIT_S, "the pair counts")  # type: ignore[misc]
            for _ in range(3):
                _announce(scene, scene.attacker, address)
                if _secret(victim) in ask(scene.attacker, source=address):
                    passed.append(victim.state.name)
                    break
        scene.lab.wait_for(
            lambda v=victim: _found_again(scene, v),  # type: ignore[misc]
            LIMIT_S,
            "the one who has the address is answered again",
        )
    return Tally(len(victims), len(passed), *controls, detail=", ".join(passed))


def _found_again(scene: Scene, vm: NetnsVm) -> bool:
    """Let a VM say where its address is, and ask. Linux believes no other MAC for a second."""
    _announce(scene, vm, str(vm.state.assigned))
    return _secret(vm) in ask(vm)


def _announce(scene: Scene, vm: NetnsVm, address: str) -> None:
    """Say by ARP that a VM has an address, to all."""
    with closing(scene.packets(vm)) as sender:
        sender.send(arp_frame(vm.state.mac, address, address))


def _announced(scene: Scene, address: str) -> bool:
    """Tell whether a neighbour hears it by now."""
    with listening(scene.neighbour.netns_path(), NIC) as wire:
        _announce(scene, scene.attacker, address)
        with suppress(TimeoutError):
            scene.lab.wait_for(
                lambda: any(str(one.sender) == address for one in wire.arps), 1, "it is heard"
            )
            return True
    return False


def _half_requests(here: Neighbourhood) -> Tally:
    """Begin requests from 14 addresses and end none; the others must be answered meanwhile."""
    scene, vm = here.scene, here.scene.attacker
    controls = _own(scene)
    addresses = [str(scene.own.cidr[177 + number]) for number in range(PAIRS)]
    held: list[socket.socket] = []
    with pair(scene, vm, *addresses, block=str(scene.own.cidr[176]) + "/28"):
        scene.lab.wait_for(lambda: _announced(scene, addresses[-1]), LIMIT_S, "the pairs count")
        for address in addresses:
            with suppress(OSError):  # no more are taken from there
                for _ in range(CONNECTIONS):
                    made = in_netns(vm.netns_path(), lambda a=address: _half(a))  # type: ignore[misc]
                    held.append(made)
        tried = [other for other in _vms(scene) if other is not vm] * 2
        failed = [other.state.name for other in tried if _secret(other) not in ask(other)]
        for made in held:
            made.close()
    told = f"{', '.join(sorted(set(failed)))} not answered" if failed else ""
    return Tally(len(held), len(failed), *controls, detail=told)


def _half(source: str) -> socket.socket:
    made = socket.create_connection(SERVICE, 1, (source, 0))
    made.sendall(b"GET / HT")
    return made
