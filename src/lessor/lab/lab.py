"""A lab: simulated hosts with real agents, a server, and VMs, in one folder.

    lab = Lab.up(folder, [HostSpec(name="h1", network_host=True), HostSpec(name="h2")])
    blue = lab.network("blue", "10.0.0.0/24")
    vm = lab.boot("vm1", on="h2", network=blue)
    vm.dhcp(timeout_s=10).address == vm.state.assigned
    lab.down()

A lab does not use the machine's own network namespace and has no global names, so any number of
labs can run side by side, each in its folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lessor.client import Client
from lessor.errors import CommandError, Conflict, Forbidden, Invalid, NotFound
from lessor.lab import cabling, cloud, hosts, ovs
from lessor.lab.capture import Capture
from lessor.lab.cloud import LabNetwork
from lessor.lab.guest.realvm import RealVm
from lessor.lab.node import Node, inits
from lessor.lab.process import Process, is_alive, kill
from lessor.lab.services import (
    AGENT,
    OUTSIDE,
    SERVER,
    TOKEN,
    start_agent,
    start_outside,
    start_server,
    write_settings,
    write_token,
)
from lessor.lab.settings_file import (
    agent_flags,
    network_hosts,
    server_flags,
    settings_text,
    shared_flags,
)
from lessor.lab.state import HostSpec, LabState, NodeState, StateFile, VmState
from lessor.lab.underlay import Underlay, tunnel_address
from lessor.lab.vm import NetnsVm, Vm
from lessor.lab.wait import StillNot, wait_for
from lessor.net.address import Block

T = TypeVar("T")

FABRIC = "fabric"
RESERVED = (FABRIC, OUTSIDE, SERVER)
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
DEFAULT_FOLDER = Path("/var/lib/lessor-lab")
SERVER_TIMEOUT_S = 60
AGENT_TIMEOUT_S = 60
FIRST_HOST_INDEX = 2  # outside is 0, the server 1

Progress = Callable[[str], None]


def usual_hosts(count: int = 3) -> list[HostSpec]:
    """Return one network host and, for the rest, compute hosts."""
    compute = [HostSpec(name=f"cmp{number}") for number in range(1, count)]
    return [HostSpec(name="net1", network_host=True), *compute]


class Lab:
    """The lab in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._file = StateFile(self.folder)
        self._api: Client | None = None

    @classmethod
    def up(
        cls,
        folder: Path,
        hosts: Sequence[HostSpec] = (),
        flags: Mapping[str, str] | None = None,
        *,
        config_files: Sequence[Path] = (),
        services: bool = True,
        underlay: Underlay | None = None,
        progress: Progress = lambda _: None,
    ) -> Lab:
        """Create a lab and wait until every agent is in sync with the server.

        Args:
            folder: folder of its state; created if it doesn't exist.
            hosts: its hosts; none: `usual_hosts()`.
            flags: settings of the server and all agents; a host's own flags win.
            config_files: settings files, read by the server and all agents before `flags`.
            services: False creates only the hosts and their cables, without server and agents.
            underlay: the wire between VTEPs.
            progress: called with the description of each step.

        Raises:
            Conflict: a lab runs in this folder.
            Forbidden: the caller isn't root.
            Invalid: a host's name is malformed, or the underlay is not possible.
        """
        specs = list(hosts) or usual_hosts()
        _check(specs)
        lab = cls(folder)
        if any(inits(lab.folder)):
            raise Conflict(f"a lab runs in {lab.folder}; end it first (lessor lab down)")
        lab._clear(logs=True)
        try:
            lab._make_nodes(specs, underlay or Underlay(), progress)
            lab._start_ovs(progress)
            if services:
                lab._start_services(specs, flags or {}, config_files, progress)
        except BaseException:
            lab.down()
            raise
        return lab

    def _make_nodes(
        self, specs: Sequence[HostSpec], underlay: Underlay, progress: Progress
    ) -> None:
        with self._file.change() as state:
            state.underlay = underlay
            progress("fabric")
            fabric = self._make(state, NodeState(name=FABRIC, index=-1))
            cabling.lay_fabric(fabric, underlay)
            for plan in _plan(specs, underlay):
                progress(f"node {plan.name}")
                node = self._make(state, plan)
                hosts.connect(fabric, node, plan, underlay)
        self._record(OUTSIDE, OUTSIDE, start_outside(self.node(OUTSIDE)))

    def _start_ovs(self, progress: Progress) -> None:
        """Start Open vSwitch on all hosts that have one, at the same time."""
        state = self.state
        names = [name for name, node in state.nodes.items() if node.tunnel_address]
        if not names:
            return
        progress(f"Open vSwitch on {', '.join(names)}")
        for name, started in hosts.start_ovs(state, [self.node(name) for name in names]).items():
            for what, process in started.items():
                self._record(name, what, process)

    def _start_services(
        self,
        specs: Sequence[HostSpec],
        flags: Mapping[str, str],
        config_files: Sequence[Path],
        progress: Progress,
    ) -> None:
        given = [path.read_text() for path in config_files]
        shared = shared_flags(specs) | dict(flags)
        progress(SERVER)
        write_settings(self.node(SERVER), *given, settings_text(shared, server_flags()))
        self.start(SERVER, SERVER)
        owners = network_hosts(specs)
        for spec in specs:
            progress(f"agent of {spec.name}")
            node, known = self.node(spec.name), self.host_state(spec.name)
            assert known.address is not None
            own = agent_flags(spec, known.address, owners, known.tunnel_address)
            write_settings(node, *given, settings_text(shared, own))
            write_token(node, self.api.create("hosts", {"name": spec.name})["token"])
            self._launch(spec.name, AGENT)
        progress("waiting for the agents")
        self._wait_for_agents(*(spec.name for spec in specs))

    def _wait_for_agents(self, *names: str) -> None:
        def late() -> list[str]:
            for name in names:
                if not self.is_running(name, AGENT):
                    words = self.node(name).last_words(AGENT)
                    raise CommandError(f"lessor agent on {name} has ended: {words}")
            return cloud.out_of_sync(self.api, names)

        wait_for(lambda: not late(), AGENT_TIMEOUT_S, f"agents of {', '.join(names)} are in sync")

    def _make(self, state: LabState, plan: NodeState) -> Node:
        state.nodes[plan.name] = plan
        node = self.node(plan.name)
        node.start()
        return node

    def down(self) -> int:
        """Stop everything of the lab and remove its folder's contents except the logs.

        This also works for a partly created lab.

        Returns:
            The number of nodes that ran.
        """
        if self._api is not None:
            self._api.__exit__(None, None, None)
            self._api = None
        running = [init for init, _ in inits(self.folder)]
        for init in running:
            kill(init)
        self._clear(logs=False)
        return len(running)

    def _clear(self, *, logs: bool) -> None:
        for name in ("nodes", "vms", *(["log"] if logs else [])):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self._file.remove()

    @property
    def state(self) -> LabState:
        """The lab's stored state.

        Raises:
            NotFound: no lab is in this folder.
        """
        return self._file.read()

    @property
    def api(self) -> Client:
        """A client of the lab's server."""
        if self._api is None:
            self._api = cloud.client(self.node(SERVER))
        return self._api

    @property
    def hosts(self) -> list[str]:
        """The names of the hosts that have an agent."""
        return [name for name, node in self.state.nodes.items() if node.agent]

    def node(self, name: str) -> Node:
        """Return a node by its name: a host, or fabric, outside, server."""
        return Node(self.folder, name)

    def host_state(self, name: str) -> NodeState:
        """Return the stored state of a node.

        Raises:
            NotFound: no node has this name.
        """
        nodes = self.state.nodes
        if name not in nodes:
            raise NotFound(f"the lab has no host {name}; it has {', '.join(nodes)}")
        return nodes[name]

    def exec(self, name: str, *argv: str, timeout_s: float = 30) -> str:
        """Run a program on a host and return its output.

        Raises:
            CommandError: its exit status isn't 0.
        """
        self.host_state(name)
        return self.node(name).exec(*argv, timeout_s=timeout_s)

    def spawn(self, name: str, what: str, *argv: str) -> Process:
        """Start a program on a host that stays; `kill(name, what)` ends it."""
        process = self.node(name).spawn(what, *argv)
        self._record(name, what, process)
        return process

    def _record(self, name: str, what: str, process: Process) -> None:
        with self._file.change() as state:
            state.nodes[name].processes[what] = process

    def kill(self, name: str, what: str, signal: str = "KILL") -> int:
        """Send a signal to the agent, the server, or all programs named `what` on a host.

        Returns:
            The number of processes that got it.

        Raises:
            NotFound: no such process runs there.
        """
        node = self.node(name)
        known = self.host_state(name).processes.get(what)
        targets = [known] if known else node.find(what)
        hit = sum(node.kill(process, signal) for process in targets)
        if not hit:
            raise NotFound(f"no {what} runs on {name}")
        if signal in {"KILL", "TERM"}:
            self.wait_for(
                lambda: not any(is_alive(process, node.proc) for process in targets),
                timeout_s=15,
                what=f"{what} on {name} has ended",
            )
        return hit

    def start(self, name: str, what: str = AGENT) -> None:
        """Start the agent or the server of a host again, and wait until it answers.

        Raises:
            Conflict: it already runs.
            Invalid: the lab can't start such a program.
        """
        if self.is_running(name, what):
            raise Conflict(f"{what} runs on {name}; end it first (lessor lab kill {name} {what})")
        if what in ovs.DAEMONS and self.host_state(name).tunnel_address:
            self._record(name, what, hosts.start_ovs_part(self.state, self.node(name), what))
            return
        if (what == SERVER) != (name == SERVER) or what not in {AGENT, SERVER}:
            raise Invalid(
                f"start {what} on {name}: only agents on hosts and the server on {SERVER}, "
                f"and {' and '.join(ovs.DAEMONS)} on hosts that have Open vSwitch"
            )
        self._launch(name, what)
        if what == AGENT:
            self._wait_for_agents(name)
        else:
            wait_for(self._server_answers, SERVER_TIMEOUT_S, "lessor server answers")

    def _launch(self, name: str, what: str) -> None:
        start = start_server if what == SERVER else start_agent
        self._record(name, what, start(self.node(name)))

    def _server_answers(self) -> bool:
        if not self.is_running(SERVER, SERVER):
            words = self.node(SERVER).last_words(SERVER)
            raise CommandError(f"lessor server has ended: {words}")
        return cloud.answers(self.api)

    def is_running(self, name: str, what: str) -> bool:
        """Return whether the lab's process of this name runs on a host."""
        node, process = self.node(name), self.host_state(name).processes.get(what)
        return process is not None and node.is_running() and is_alive(process, node.proc)

    def cut(self, name: str, nic: str = "eth0") -> None:
        """Unplug a cable: eth0 is the management and public network, eth1 flat, eth2 tunnels."""
        index = self.host_state(name).index
        cabling.set_cable(self.node(FABRIC), index, nic, up=False)

    def heal(self, name: str, nic: str = "eth0") -> None:
        """Undo `cut`."""
        index = self.host_state(name).index
        cabling.set_cable(self.node(FABRIC), index, nic, up=True)

    def capture(self, name: str, device: str, netns: str | None = None) -> Capture:
        """Start a DHCP capture on a device of a host, or of one of its namespaces."""
        self.host_state(name)
        node = self.node(name)
        return Capture(node.root / "run/netns" / netns if netns else node.netns, device)

    def power_off(self, name: str) -> None:
        """Kill a host at once, with its VMs: its disk stays."""
        self.host_state(name)
        self.node(name).stop()
        with self._file.change() as state:
            state.nodes[name].processes.clear()
            state.vms = {key: vm for key, vm in state.vms.items() if vm.host != name}

    def power_on(self, name: str, *, wait: bool = True) -> None:
        """Start a host again after `power_off`, with Open vSwitch and its agent if it had them.

        Args:
            name: name of the host.
            wait: wait until its agent is in sync, which needs a server.

        Raises:
            Conflict: it already runs.
        """
        node, state = self.node(name), self.state
        if node.is_running():
            raise Conflict(f"{name} runs; end it first")
        node.start()
        hosts.connect(self.node(FABRIC), node, state.nodes[name], state.underlay)
        if state.nodes[name].tunnel_address:
            for what, process in hosts.start_ovs(state, [node])[name].items():
                self._record(name, what, process)
        if (node.state_dir / TOKEN).exists():
            self._launch(name, AGENT)
            if wait:
                self._wait_for_agents(name)

    def route_back(self, destination: Block, via: str) -> None:
        """Add a route at the outside, by a host, to VMs that are not SNATed (dmz_cidr)."""
        address = self.host_state(via).address
        assert address is not None
        cabling.route_back(self.node(OUTSIDE), destination, address)

    def network(self, name: str, cidr: str, **attributes: Any) -> LabNetwork:
        """Create a network with one subnet, flat by default; attributes as `cloud.make_network`."""
        return cloud.make_network(self.api, name, cidr, **attributes)

    def boot(
        self,
        name: str,
        on: str,
        network: LabNetwork | str,
        *,
        real: bool = False,
        port: Mapping[str, Any] | None = None,
    ) -> Vm:
        """Create a port bound to a host, and its VM.

        Args:
            name: name of the VM and its port.
            on: name of the host.
            network: as `network` returned it, or its name or id.
            real: a QEMU guest instead of a namespace.
            port: further attributes of the port, by the API's names.
        """
        self.host_state(on)
        if name in self.state.vms:
            raise Conflict(f"the lab has a VM {name}; take another name")
        if isinstance(network, str):
            network = cloud.find_network(self.api, network)
        return self.plug(
            cloud.make_port(self.api, name, on, network, real=real, port={**(port or {})})
        )

    def wait_active(self, vm: Vm, timeout_s: float) -> None:
        """Wait until a VM's port is ACTIVE, as a compute service does before it starts the VM.

        Raises:
            StillNot: it isn't; the message has the port's reason.
        """
        port: dict[str, Any] = {}

        def active() -> bool:
            port.update(self.api.show("ports", vm.state.port_id))
            return bool(port["status"] == "ACTIVE")

        try:
            wait_for(active, timeout_s, f"port of {vm.state.name} is ACTIVE")
        except StillNot as error:
            raise StillNot(f"{error}; it waits for: {port.get('lessor:pending')}") from error

    def delete_vm(self, name: str) -> None:
        """Stop a VM, then delete its port, as a compute service does."""
        port_id = self.vm(name).state.port_id
        self.unplug(name)
        self.api.delete("ports", port_id)

    def plug(self, vm: VmState) -> Vm:
        """Create a VM with an existing port."""
        with self._file.change() as state:
            if vm.name in state.vms:
                raise Conflict(f"the lab has a VM {vm.name}; take another name")
            state.vms[vm.name] = vm
        made = self._vm(vm)
        made.start()
        return made

    def vm(self, name: str) -> Vm:
        """Return a VM by its name.

        Raises:
            NotFound: no such VM.
        """
        vms = self.state.vms
        if name not in vms:
            raise NotFound(f"the lab has no VM {name}; it has {', '.join(vms) or 'none'}")
        return self._vm(vms[name])

    def vms(self) -> list[Vm]:
        """Return all VMs, in the order of their creation."""
        return [self._vm(state) for state in self.state.vms.values()]

    def _vm(self, state: VmState) -> Vm:
        folder = self.folder / "vms" / state.name
        kind = RealVm if state.real else NetnsVm
        return kind(self.node(state.host), state, folder)

    def unplug(self, name: str) -> None:
        """Stop and remove a VM. Its port stays."""
        self.vm(name).stop()
        with self._file.change() as state:
            del state.vms[name]
        shutil.rmtree(self.folder / "vms" / name, ignore_errors=True)

    @staticmethod
    def wait_for(condition: Callable[[], T], timeout_s: float, what: str = "") -> T:
        """See `lessor.lab.wait.wait_for`."""
        return wait_for(condition, timeout_s, what)


def _plan(specs: Sequence[HostSpec], underlay: Underlay) -> Iterator[NodeState]:
    yield NodeState(name=OUTSIDE, index=0, address=cabling.OUTSIDE)
    yield NodeState(name=SERVER, index=1, address=cabling.SERVER)
    for number, spec in enumerate(specs):
        yield NodeState(
            name=spec.name,
            index=FIRST_HOST_INDEX + number,
            address=cabling.host_address(number),
            network_host=spec.network_host,
            agent=True,
            tunnel_address=(tunnel_address(number, underlay.ip_version) if spec.overlay else None),
        )


def _check(specs: Sequence[HostSpec]) -> None:
    if os.geteuid() != 0:
        raise Forbidden("a lab creates namespaces and bridges: run it as root")
    names = [spec.name for spec in specs]
    for name in names:
        if not HOST_NAME.fullmatch(name) or name in RESERVED:
            raise Invalid(f"lab host name {name!r}: must be a DNS label, not {', '.join(RESERVED)}")
    if len(set(names)) != len(names):
        raise Invalid(f"lab host names {', '.join(names)}: must be unique")
