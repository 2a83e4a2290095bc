"""Sends forged frames out of a VM, and counts who hears them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import count

from lessor.lab.vm import NIC, NetnsVm
from tests.agent.drivers.frames import BROADCAST
from tests.lab.attacks.attack import Attack, Tally
from tests.lab.attacks.forged import EVERYBODY, FORGED, Ends, Forged, false_udp, own_udp
from tests.lab.attacks.scene import LIMIT_S, Scene
from tests.lab.frames import Wire, listening

TIMES = 3  # each frame is sent so often


class Range:
    """The attacker's NIC, and the NICs where its forged frames would be heard.

    After each salvo allowed frames follow on the same ways: a frame of the attacker's for those
    on its network, of the stranger's friend for the stranger. When all are heard, what went before
    is heard or lost.
    """

    def __init__(self, scene: Scene, stack: ExitStack) -> None:
        self._scene = scene
        self._attacker = scene.packets(scene.attacker)
        self._friend = scene.packets(scene.friend)
        stack.callback(self._attacker.close)
        stack.callback(self._friend.close)
        self._peers = {
            vm.state.name: stack.enter_context(listening(vm.netns_path(), NIC))
            for vm in (scene.neighbour, scene.remote)
        }
        if scene.mode == "flat":
            for host in scene.bridged:
                self._peers[host] = stack.enter_context(listening(scene.namespace(host), "br100"))
        self._strangers = {
            scene.stranger.state.name: stack.enter_context(
                listening(scene.stranger.netns_path(), NIC)
            )
        }
        self._numbers = count(1)
        self.marks: list[bytes] = []
        self.passed_open: set[str] = set()  # names of what is heard without port security

    def salvo(self, forged: Forged) -> Tally:
        """Send one kind of frame to each, and wait until what follows them is heard."""
        sent, mark = 0, self._mark()
        for ends in self._ends():
            for frame in [*forged.make(ends, mark)] * TIMES:
                self._attacker.send(frame)
                sent += 1
        self.marks.append(mark)
        controls, passed = self.settle()
        if self._scene.mode not in forged.unheard:
            controls += 1
            passed += forged.name in self.passed_open
        where = self.heard(mark)
        return Tally(sent, sum(where.values()), controls, passed, detail=_told(where))

    def open_up(self, forged: Sequence[Forged]) -> None:
        """Note which frames are heard where nothing is guarded: of what else would silence tell?"""
        self._secure(False)
        self._until(lambda: all(self._probe().values()), "forged frames pass without guards")
        for one in forged:
            if self.salvo(one).passed:
                self.passed_open.add(one.name)
        self._secure(True)
        self._until(lambda: not any(self._probe().values()), "no forged frame passes")
        self._greet()
        self.marks.clear()

    def _greet(self) -> None:
        """Let each VM send, so that switches forget MACs learned while the taps were unguarded."""
        scene = self._scene
        for vm in (scene.neighbour, scene.remote, scene.stranger):
            with closing(scene.packets(vm)) as sender:
                sender.send(own_udp(ends_between(vm, BROADCAST, EVERYBODY, scene), self._mark()))

    def _secure(self, on: bool) -> None:
        scene = self._scene
        for vm in (scene.attacker, scene.neighbour, scene.remote):
            scene.lab.api.update("ports", vm.state.port_id, {"port_security_enabled": on})

    def _probe(self) -> dict[str, int]:
        """Return how many forged frames each peer hears now."""
        mark = self._mark()
        scene = self._scene
        self._attacker.send(
            false_udp(ends_between(scene.attacker, BROADCAST, EVERYBODY, scene), mark)
        )
        self.settle()
        return {name: _hears(wire, mark) for name, wire in self._peers.items() if "-" in name}

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        self._scene.lab.wait_for(condition, LIMIT_S, what)

    def settle(self) -> tuple[int, int]:
        """Send allowed frames; return how many should hear them, and how many did."""
        control, greeting = self._mark(), self._mark()
        to_all = EVERYBODY
        own = ends_between(self._scene.attacker, BROADCAST, to_all, self._scene)
        self._attacker.send(own_udp(own, control))
        friends = ends_between(self._scene.friend, BROADCAST, to_all, self._scene)
        self._friend.send(own_udp(friends, greeting))
        wanted = [(wire, control) for wire in self._peers.values()]
        wanted += [(wire, greeting) for wire in self._strangers.values()]
        for wire, mark in wanted:
            self._scene.lab.wait_for(
                lambda wire=wire, mark=mark: _hears(wire, mark),  # type: ignore[misc]
                LIMIT_S,
                "an allowed frame is heard",
            )
        return len(wanted), len(wanted)

    def heard(self, *marks: bytes) -> dict[str, int]:
        """Return how many frames with one of these marks were heard, by who heard them."""
        everybody = self._peers | self._strangers
        found = {
            name: sum(_hears(wire, mark) for mark in marks) for name, wire in everybody.items()
        }
        return {name: number for name, number in found.items() if number}

    def _mark(self) -> bytes:
        return b"!%06x!" % next(self._numbers)

    def _ends(self) -> Iterator[Ends]:
        scene = self._scene
        for vm in (scene.neighbour, scene.remote):
            yield ends_between(scene.attacker, vm.state.mac, str(vm.state.assigned), scene)
        yield ends_between(scene.attacker, BROADCAST, EVERYBODY, scene)
        yield ends_between(
            scene.attacker, scene.stranger.state.mac, str(scene.stranger.state.assigned), scene
        )


def ends_between(sender: NetnsVm, to_mac: str, to: str, scene: Scene) -> Ends:
    network = scene.own if sender.state.network == scene.own.name else scene.other
    return Ends(
        sender.state.mac, str(sender.state.assigned), to_mac, to,
        str(network.gateway), str(network.cidr[77]),
    )  # fmt: skip


def _hears(wire: Wire, mark: bytes) -> int:
    return sum(mark in frame.content for frame in wire.frames)


def _told(where: dict[str, int]) -> str:
    return ", ".join(f"{name} heard {number}" for name, number in where.items())


@contextmanager
def aimed(scene: Scene) -> Iterator[Range]:
    with ExitStack() as stack:
        yield Range(scene, stack)


def attacks(scene: Range, forged: Sequence[Forged] = FORGED) -> Iterator[Attack[Range]]:
    """Each kind of frame, and at last all of them: what came late."""
    for one in forged:
        yield Attack(one.name, one.finding, one.promise, partial(_salvo, one))
    yield Attack("all of the above, heard later", "", "nothing comes late", _late)


def _salvo(forged: Forged, scene: Range) -> Tally:
    return scene.salvo(forged)


def _late(scene: Range) -> Tally:
    controls = scene.settle()
    where = scene.heard(*scene.marks)
    return Tally(len(scene.marks), sum(where.values()), *controls, detail=_told(where))
