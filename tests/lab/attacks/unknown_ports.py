"""A VM that never stops forging, while its port comes, changes and goes.

Steps of one life: each goes on where the last one ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count

from lessor.errors import NotFound
from lessor.lab.lab import Lab
from lessor.lab.vm import NIC, NetnsVm
from tests.agent.drivers.frames import BROADCAST
from tests.lab.attacks.attack import Attack, Tally
from tests.lab.attacks.forged import EVERYBODY, own_udp
from tests.lab.attacks.from_vms import ends_between
from tests.lab.attacks.scene import LIMIT_S, Scene
from tests.lab.forger import MARK, SPOOF, Forger
from tests.lab.frames import Wire, listening

PROMISE = "a port that is not known, not yet or no longer, passes nothing"
HOST = "cmp1"
ENOUGH = 200  # frames after each change
SPOOFED = bytes.fromhex(SPOOF.replace(":", ""))


@dataclass
class Life:
    """A VM of the attacker's network that forges, who would hear it, and who speaks meanwhile."""

    scene: Scene
    vm: NetnsVm
    forger: Forger
    spies: list[Wire]
    own: Wire
    talker: Callable[[bytes], object]
    numbers: count[int]

    @property
    def lab(self) -> Lab:
        return self.scene.lab

    def heard(self) -> int:
        frames = [frame.content for spy in self.spies for frame in spy.frames]
        return sum(SPOOFED in frame or MARK in frame for frame in frames)

    def update(self, **body: object) -> None:
        self.lab.api.update("ports", self.vm.state.port_id, body)

    def goes_on(self) -> None:
        before = self.forger.sent
        self.lab.wait_for(lambda: self.forger.sent > before + ENOUGH, LIMIT_S, "the VM sends on")

    def step(self, change: Callable[[], object], *, deaf: bool) -> Tally:
        """Change something while the VM sends; count what it was heard with, and what it heard.

        Args:
            change: what is done to its port.
            deaf: the VM itself must hear nothing.
        """
        mark = b"!%06d!" % next(self.numbers)
        sent, heard, overheard = self.forger.sent, self.heard(), self._overheard(mark)
        change()
        self.goes_on()
        self.lab.wait_for(lambda: self._all_hear(mark), LIMIT_S, "an allowed frame is heard")
        heard, overheard = self.heard() - heard, self._overheard(mark) - overheard
        passed = heard + (overheard if deaf else 0)
        detail = f"heard {heard}, overheard {overheard}" if passed else ""
        spies = len(self.spies)
        return Tally(self.forger.sent - sent, passed, spies, spies, detail=detail)

    def _overheard(self, mark: bytes) -> int:
        return sum(mark in frame.content for frame in self.own.frames)

    def _all_hear(self, mark: bytes) -> bool:
        """Tell whether an allowed frame was heard; in a storm some are lost, so send one more."""
        self.talker(mark)
        return all(any(mark in frame.content for frame in spy.frames) for spy in self.spies)

    def plug(self) -> None:
        """As a hypervisor does."""
        self.lab.exec(HOST, "ip", "link", "set", self.vm.tap, "up")
        if self.scene.mode == "flat":
            self.lab.exec(HOST, "ip", "link", "set", self.vm.tap, "master", "br100")
            return
        ids = f"external_ids:iface-id={self.vm.state.port_id}"
        add = ["--may-exist", "add-port", "br-int", self.vm.tap]
        clear = ["--", "clear", "port", self.vm.tap, "tag", "--", "set", "interface", self.vm.tap]
        self.lab.exec(HOST, "ovs-vsctl", *add, *clear, ids)

    def released(self) -> None:
        alias = f"/sys/class/net/{self.vm.tap}/ifalias"
        self.lab.wait_for(
            lambda: not self.lab.exec(HOST, "cat", alias).strip(), LIMIT_S, "the tap is let go"
        )

    def opened(self) -> Tally:
        """Take port security off: the spies must hear it then; put it back."""
        before, sent = self.heard(), self.forger.sent
        self.update(port_security_enabled=False)
        self.lab.wait_for(lambda: self.heard() > before, LIMIT_S, "forged frames are heard")
        self.update(port_security_enabled=True)
        self.lab.wait_for(self._quiet, LIMIT_S, "port security is on again")
        return Tally(self.forger.sent - sent, 0, 1, 1)

    def _quiet(self) -> bool:
        before = self.heard()
        self.goes_on()
        return self.heard() == before


@contextmanager
def life(scene: Scene) -> Iterator[Life]:
    """Make the VM while no agent runs on its host; end it, and let the agent run."""
    lab, name = scene.lab, f"{scene.mode}-forger"
    lab.kill(HOST, "agent")
    with ExitStack() as stack:
        stack.callback(_agent_runs, lab)
        vm = lab.boot(name, HOST, scene.own)
        assert isinstance(vm, NetnsVm)
        stack.callback(_gone, lab, name)
        peers = (scene.neighbour, scene.remote)
        spies = [stack.enter_context(listening(one.netns_path(), NIC)) for one in peers]
        own = stack.enter_context(listening(vm.netns_path(), NIC))
        talker = scene.packets(scene.attacker)
        stack.callback(talker.close)
        ends = ends_between(scene.attacker, BROADCAST, EVERYBODY, scene)
        forger = stack.enter_context(Forger(vm.netns_path(), str(scene.own.cidr[177])))
        speak: Callable[[bytes], object] = lambda mark: talker.send(own_udp(ends, mark))  # noqa: E731
        yield Life(scene, vm, forger, spies, own, speak, count(1))


def _gone(lab: Lab, name: str) -> None:
    with suppress(NotFound):
        lab.api.delete("ports", lab.vm(name).state.port_id)
    lab.unplug(name)


def _agent_runs(lab: Lab) -> None:
    if not lab.is_running(HOST, "agent"):
        lab.start(HOST, "agent")


def attacks() -> Iterator[Attack[Life]]:
    """The steps, in order."""
    deaf: dict[str, Callable[[Life], object]] = {
        "plugged by a hypervisor while no agent runs": Life.plug,
    }
    known: dict[str, Callable[[Life], object]] = {
        "the agent starts and takes the port": _taken,
        "the agent is killed": lambda life: life.lab.kill(HOST, "agent"),
        "the agent starts again": lambda life: life.lab.start(HOST, "agent"),
    }
    gone: dict[str, Callable[[Life], object]] = {
        "unbound while it sends": _unbound,
        "plugged although bound nowhere": Life.plug,
        "bound again": _bound,
        "deleted while it sends": _deleted,
        "plugged although deleted": Life.plug,
    }  # fmt: skip
    for name, change in deaf.items():
        yield _attack(name, "3", change, deaf=True)
    for name, change in known.items():
        yield _attack(name, "3", change, deaf=False)
    yield Attack("port security taken off and put back", "4", PROMISE, Life.opened)
    for name, change in gone.items():
        yield _attack(name, "4", change, deaf=name.startswith("plugged"))


def _attack(
    name: str, finding: str, change: Callable[[Life], object], *, deaf: bool
) -> Attack[Life]:
    return Attack(name, finding, PROMISE, partial(_tried, change, deaf))


def _tried(change: Callable[[Life], object], deaf: bool, life: Life) -> Tally:
    return life.step(lambda: change(life), deaf=deaf)


def _active(life: Life) -> None:
    life.lab.wait_active(life.vm, LIMIT_S)


def _taken(life: Life) -> None:
    life.lab.start(HOST, "agent")
    _active(life)


def _unbound(life: Life) -> None:
    life.update(**{"binding:host_id": ""})
    life.released()


def _bound(life: Life) -> None:
    life.update(**{"binding:host_id": HOST})
    _active(life)


def _deleted(life: Life) -> None:
    life.lab.api.delete("ports", life.vm.state.port_id)
    life.released()
