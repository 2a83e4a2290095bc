"""The whole of it, shown: five hosts, flat and overlay networks, VMs, and what became of each.

Run by scripts/demo. A check that fails doesn't stop the others; each failed one is named at the end
and makes the exit status 1.
"""

from __future__ import annotations

import json as jsons
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from lessor.errors import LessorError
from lessor.lab.cloud import LabNetwork
from lessor.lab.demo import overlay_tables, tables
from lessor.lab.demo.checks import Seen, look
from lessor.lab.demo.overlay import OverlayDemo
from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec, VmState

FREED_TIMEOUT_S, LEASES_TIMEOUT_S, OWNER_TIMEOUT_S = 60, 20, 20
HOSTS = [  # two network hosts, so that one can die
    *(HostSpec(name=name, network_host=True, overlay=True) for name in ("net1", "net2")),
    *(HostSpec(name=name, overlay=True) for name in ("cmp1", "cmp2", "cmp3")),
]
NETWORKS = {"office": ("10.10.0.0/24", False), "web": ("10.20.0.0/24", True)}  # CIDR, multi_host
VMS = (  # name, network, host, real; the real one last, since it keeps a processor busy
    ("vm1", "office", "cmp1", False),
    ("vm2", "office", "cmp2", False),
    ("vm3", "web", "cmp1", False),
    ("vm4", "web", "cmp2", False),
    ("vm5", "office", "cmp2", True),
)


class Demo:
    """One run in a lab; `failures` lists the failed checks."""

    def __init__(self, lab: Lab, say: Callable[[str], None]) -> None:
        self._lab = lab
        self._say = say
        self.networks: dict[str, LabNetwork] = {}
        self.seen: list[Seen] = []
        self.leases: list[dict[str, Any]] = []
        self.failures: list[str] = []

    def boot_all(self) -> None:
        """Make the networks and VMs, and look at each VM."""
        for name, (cidr, multi_host) in NETWORKS.items():
            self.networks[name] = self._lab.network(name, cidr, multi_host=multi_host)
        for name, network, host, real in VMS:
            self._say(f"{name}: {'a real guest' if real else 'a namespace'} on {host}, {network}")
            vm = self._lab.boot(name, host, self.networks[network], real=real)
            seen = look(self._lab, vm, self._nat_address(network, host))
            self.seen.append(seen)
            self.failures += [f"{name}: {failure}" for failure in seen.failures]

    def _nat_address(self, network: str, host: str) -> Any:
        """As whom the outside is to see a VM: its gateway's host."""
        gateway = host if NETWORKS[network][1] else self._owner(self.networks[network])
        return self._lab.host_state(gateway).address

    def _owner(self, network: LabNetwork) -> str:
        """Wait until a network host has claimed a single-host network, and name it."""
        return self._lab.wait_for(
            lambda: str(self._lab.api.show("networks", network.id)["lessor:host"] or ""),
            OWNER_TIMEOUT_S,
            f"a network host owns {network.name}",
        )

    def check_leases(self) -> None:
        """Wait until the store knows of every VM that it took its address."""
        want = {(vm.state.port_id, str(vm.state.assigned)) for vm in self._lab.vms()}

        def missing() -> set[tuple[str, str]]:
            self.leases = self._lab.api.list("leases", {"live": True, "sort_key": "address"})
            return want - {(str(row["port_id"]), row["address"]) for row in self.leases}

        try:
            self._lab.wait_for(lambda: not missing(), LEASES_TIMEOUT_S)
        except TimeoutError:
            late = ", ".join(sorted(address for _, address in missing()))
            self.failures.append(f"leases: the store doesn't know that these were taken: {late}")

    def delete_one(self, name: str) -> float | None:
        """Delete a VM and wait until its address can be given to another; return seconds."""
        state = self._lab.vm(name).state
        started = time.monotonic()
        self._lab.delete_vm(name)
        try:
            self._lab.wait_for(lambda: self._is_free(state), FREED_TIMEOUT_S, "it is free")
            took_s = time.monotonic() - started
            self._give_again(state)
        except LessorError as error:
            self.failures.append(f"{name} deleted: its address {state.assigned}: {error}")
            return None
        return took_s

    def _is_free(self, state: VmState) -> bool:
        network = self.networks[state.network].id
        rows = self._lab.api.list(
            "addresses", {"network_id": network, "address": str(state.assigned)}
        )
        return all(row["state"] == "free" for row in rows)

    def _give_again(self, state: VmState) -> None:
        body = {
            "network_id": self.networks[state.network].id,
            "fixed_ips": [{"ip_address": str(state.assigned)}],
        }
        self._lab.api.delete("ports", self._lab.api.create("ports", body)["id"])


def main(
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what was seen.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the lab running.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="The lab's folder, deleted if all goes well."),
    ] = None,
    dhcp_driver: Annotated[
        str, typer.Option(metavar="NAME", help="Of the hosts: dnsmasq or native.")
    ] = "dnsmasq",
) -> None:
    """Show VMs on simulated hosts getting the addresses of their ports (as root)."""
    folder = folder or Path(tempfile.mkdtemp(prefix="lessor-demo-"))
    started = time.monotonic()
    try:
        lab = Lab.up(folder, HOSTS, {"dhcp_driver": dhcp_driver}, progress=_say)
        try:
            demo, overlay = show(lab)
        finally:
            if not keep:
                lab.down()
    except LessorError as error:
        print(f"demo: {error}\nthe logs are in {folder}/log", file=sys.stderr)
        sys.exit(1)
    failures = demo.failures + overlay.all_failures()
    ok = not failures
    if json is not None:
        json.write_text(jsons.dumps(as_json(demo, overlay), indent=2) + "\n")
    if keep:
        print(f"\nthe lab runs on; look around in it, and end it, with\n{_commands(folder)}")
    elif ok:
        shutil.rmtree(folder)
    _verdict(failures, folder, time.monotonic() - started)


def show(lab: Lab) -> tuple[Demo, OverlayDemo]:
    """Do all of it and print it."""
    demo, overlay = Demo(lab, _say), OverlayDemo(lab, _say)
    demo.boot_all()
    overlay.boot_all()
    overlay.follow_discovers()
    demo.check_leases()
    print("\nFlat networks:\n" + tables.vms_table(demo.seen))
    print("\nOverlay networks, with the same addresses:\n" + overlay_tables.vms_table(overlay.vms))
    print("\nWhere their DHCP went:\n" + overlay_tables.networks_table(overlay.seen))
    print("\nThe lease table of the store:\n" + tables.leases_table(demo.leases))
    print("\nWhat the agents made on each host:\n" + tables.hosts_table(lab))
    print("\nAnd of Open vSwitch:\n" + overlay_tables.hosts_table(lab))
    name = VMS[0][0]
    address = lab.vm(name).state.assigned
    took_s = demo.delete_one(name)
    if took_s is not None:
        print(f"\n{name} deleted: its address {address} was free again after {took_s:.1f} s")
    overlay.fail_over()
    if overlay.failover_s is not None:
        print(f"\na DHCP host died: a VM renewed at its successor after {overlay.failover_s} s")
    return demo, overlay


def as_json(demo: Demo, overlay: OverlayDemo) -> dict[str, Any]:
    """Return what `scripts/demo --json FILE` writes."""
    ok = not demo.failures and not overlay.all_failures()
    flat = tables.as_json([*demo.networks.values()], demo.seen, demo.leases, ok=ok)
    networks = flat["networks"] + overlay_tables.as_json(overlay)
    return flat | {"networks": networks, "failover_s": overlay.failover_s}


def _commands(folder: Path) -> str:
    """Return what to type next, with this installation's program."""
    lessor = Path(sys.executable).with_name("lessor")
    lab = f"  {lessor} lab"
    return "\n".join(
        (
            f"  export LESSOR_LAB={folder}",
            f"{lab} status",
            f"{lab} exec server -- lessor status",
            f"{lab} vm exec vm2 -- ip address",
            f"{lab} vm console vm5",
            f"{lab} down",
        )
    )


def _verdict(failures: list[str], folder: Path, took_s: float) -> None:
    if not failures:
        print(f"\nall checks passed ({took_s:.0f} s)")
        return
    print("\nfailed checks:", file=sys.stderr)
    for failure in failures:
        print(f"  {failure}", file=sys.stderr)
    print(f"the logs are in {folder}/log", file=sys.stderr)
    sys.exit(1)


def _say(step: str) -> None:
    print(f"-- {step}", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
