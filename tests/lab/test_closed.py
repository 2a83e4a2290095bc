"""No forged frame of a VM passes, from before its tap is plugged until long after.

Also a client of a bridge's second network that asks for broadcasts gets its lease.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from lessor.errors import NotFound
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.vm import NIC, NetnsVm
from tests.lab.forger import MARK, SPOOF, Forger
from tests.lab.frames import Wire, listening
from tests.lab.stage import LIMIT_S, Stage

pytestmark = pytest.mark.lab

ENOUGH = 200  # frames after each change


class Trial:
    """The forger, and those who would hear it."""

    def __init__(self, lab: Lab, forger: Forger, spies: list[Wire]) -> None:
        self.lab, self.forger, self.spies = lab, forger, spies

    def heard(self) -> int:
        source = bytes.fromhex(SPOOF.replace(":", ""))
        frames = [frame.content for spy in self.spies for frame in spy.frames]
        return sum(source in frame or MARK in frame for frame in frames)

    def goes_on(self, sends: bool = True) -> None:
        """Wait until it has sent more."""
        before = self.forger.sent
        if sends:
            self.lab.wait_for(
                lambda: self.forger.sent > before + ENOUGH, LIMIT_S, "the VM goes on sending"
            )

    def nothing_passes(self, change: Callable[[], object], what: str, sends: bool = True) -> None:
        before = self.heard()
        change()
        self.goes_on(sends)
        assert self.heard() == before, f"frames passed: {what}"

    def all_passes(self, change: Callable[[], object]) -> None:
        """Show that the spies hear what passes."""
        before = self.heard()
        change()
        self.lab.wait_for(lambda: self.heard() > before, LIMIT_S, "forged frames pass")


def closed_at_every_turn(
    lab: Lab,
    network: LabNetwork,
    spies: list[NetnsVm],
    plug: Callable[[NetnsVm], object],
    more: dict[str, dict[str, str]],
) -> None:
    """Do all that can be done to a port on cmp1."""
    lab.kill("cmp1", "agent")
    vm = lab.boot("forger", "cmp1", network)
    assert isinstance(vm, NetnsVm)
    port = vm.state.port_id
    update: Callable[..., object] = lambda **body: lab.api.update("ports", port, body)  # noqa: E731
    with ExitStack() as stack:
        stack.callback(agent_runs, lab)  # also for those who come after a failure
        wires = [stack.enter_context(listening(spy.netns_path(), NIC)) for spy in spies]
        forger = stack.enter_context(Forger(vm.netns_path(), str(network.cidr[177])))
        trial = Trial(lab, forger, wires)
        trial.nothing_passes(lambda: plug(vm), "plugged while no agent runs")
        trial.nothing_passes(lambda: lab.start("cmp1", "agent"), "the agent starts")
        trial.nothing_passes(lambda: lab.wait_active(vm, LIMIT_S), "the port becomes active")
        trial.nothing_passes(lambda: lab.kill("cmp1", "agent"), "the agent is killed")
        trial.nothing_passes(lambda: lab.start("cmp1", "agent"), "the agent starts again")
        trial.all_passes(lambda: update(port_security_enabled=False))
        lab.wait_for(lambda: settled(trial, update), LIMIT_S, "port security is on again")
        for what, body in more.items():
            trial.nothing_passes(lambda body=body: update(**body), what, sends=False)  # type: ignore[misc]
            trial.nothing_passes(lambda: update(device_owner="compute:nova"), f"not {what}")
        trial.nothing_passes(lambda: update(**{"binding:host_id": ""}), "unbound")
        trial.nothing_passes(lambda: released(lab, vm), "unbound long ago")
        trial.nothing_passes(lambda: plug(vm), "plugged although bound to no host")
        trial.nothing_passes(lambda: update(**{"binding:host_id": "cmp1"}), "bound again")
        trial.nothing_passes(lambda: lab.wait_active(vm, LIMIT_S), "active again")
        trial.nothing_passes(lambda: lab.api.delete("ports", port), "its port is deleted")
        trial.nothing_passes(lambda: released(lab, vm), "deleted long ago")
        trial.nothing_passes(lambda: plug(vm), "plugged although its port is deleted")


def agent_runs(lab: Lab) -> None:
    if not lab.is_running("cmp1", "agent"):
        lab.start("cmp1", "agent")


def released(lab: Lab, vm: NetnsVm) -> None:
    """Wait until the agent has let the tap go."""
    alias = f"/sys/class/net/{vm.tap}/ifalias"
    lab.wait_for(lambda: not lab.exec("cmp1", "cat", alias).strip(), LIMIT_S, "the tap is let go")


def settled(trial: Trial, update: Callable[..., object]) -> bool:
    update(port_security_enabled=True)
    before = trial.heard()
    trial.goes_on()
    return trial.heard() == before


def test_on_a_linux_bridge_a_forger_is_never_heard(stage: Stage) -> None:
    lab, network = stage.lab, stage.network("10.27.0.0/24")
    spies = [stage.vm("cmp1", network), stage.vm("cmp2", network)]

    def plug(vm: NetnsVm) -> None:
        lab.exec("cmp1", "ip", "link", "set", vm.tap, "master", "br100", "up")

    more = {"a DHCP server": {"device_owner": "network:dhcp"}}
    try:
        closed_at_every_turn(lab, network, spies, plug, more)
    finally:
        with suppress(NotFound):  # its port is deleted
            lab.delete_vm("forger")


def test_on_br_int_a_forger_is_never_heard(overlay_lab: Lab) -> None:
    lab, network = overlay_lab, overlay_lab.network("closed", "10.37.0.0/24", kind="vxlan")
    other = lab.network("other", "10.38.0.0/24", kind="vxlan")
    spies = []
    for number, (host, net) in enumerate([("cmp1", network), ("cmp2", network), ("cmp1", other)]):
        vm = lab.boot(f"spy{number}", host, net)
        assert isinstance(vm, NetnsVm)
        lab.wait_active(vm, LIMIT_S)
        spies.append(vm)

    def plug(vm: NetnsVm) -> None:
        """As os-vif does."""
        ids = f"external_ids:iface-id={vm.state.port_id}"
        lab.exec("cmp1", "ip", "link", "set", vm.tap, "up")
        add = ("--may-exist", "add-port", "br-int", vm.tap, "--", "clear", "port", vm.tap, "tag")
        lab.exec("cmp1", "ovs-vsctl", *add, "--", "set", "interface", vm.tap, ids)

    closed_at_every_turn(lab, network, spies, plug, {})


def test_a_client_of_the_second_network_that_asks_for_broadcasts_gets_its_lease(
    stage: Stage,
) -> None:
    """As Windows and many PXE ROMs do; the answer has the bridge's first address as its source."""
    stage.vm("cmp2", stage.network("10.28.0.0/24"))
    second = stage.network("10.29.0.0/24")
    for host in ("cmp1", "net1"):
        vm = stage.plugged(host, second)
        said = vm.exec("/bin/sh", "-c", f"udhcpc -B -n -q -t 5 -T 1 -i {NIC} 2>&1")
        assert f"lease of {vm.state.assigned} obtained" in said
    assert "a DHCP server at" not in stage.lab.exec("server", "lessor", "status")
