"""`lessor lab`: simulated hosts with real agents, and VMs, on this machine (as root).

The lab itself is imported when a command runs, so that `lessor --help` is fast.
"""

from __future__ import annotations

import json as jsons
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lessor.errors import Invalid
from lessor.layout import Column, print_table

if TYPE_CHECKING:
    from lessor.lab.lab import Lab
    from lessor.lab.layout import Layout
    from lessor.lab.vm import Vm

app = typer.Typer(no_args_is_help=True, help="Simulated hosts with real agents, and VMs.")
vm_app = typer.Typer(no_args_is_help=True, help="VMs of the lab.")
app.add_typer(vm_app, name="vm")

Dir = Annotated[
    Path,
    typer.Option("--dir", envvar="LESSOR_LAB", metavar="DIR", help="The lab's folder."),
]
FOLDER = Path("/var/lib/lessor-lab")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HostName = Annotated[
    str, typer.Argument(metavar="HOST", help="A host, or server, outside, fabric.")
]
Nic = Annotated[str, typer.Option(help="eth0: management, public; eth1: flat; eth2: tunnels.")]
VmName = Annotated[str, typer.Argument(metavar="NAME", help="The VM.")]
What = Annotated[
    str, typer.Argument(help="agent, server, or a program's name: dnsmasq, ovs-vswitchd …")
]
Command = Annotated[list[str], typer.Argument(metavar="-- CMD", help="Program and arguments.")]
PASS_ON = {"ignore_unknown_options": True}  # to the command that is run

NODES = (
    Column("NAME", "name"),
    Column("ADDRESS", "address"),
    Column("TUNNEL", "tunnel_address"),
    Column("NETWORK HOST", "network_host"),
    Column("STATE", lambda row: "up" if row["running"] else "down"),
    Column(
        "PROCESSES",
        lambda row: [f"{name}{'' if up else ' (ended)'}" for name, up in row["processes"].items()],
    ),
)
VMS = (
    Column("NAME", "name"),
    Column("HOST", "host"),
    Column("NETWORK", "network"),
    Column("REAL", "real"),
    Column("MAC", "mac"),
    Column("ASSIGNED", "assigned"),
    Column("LEASED", "leased"),
)


def _lab(folder: Path) -> Lab:
    from lessor.lab.lab import Lab  # noqa: PLC0415 - see the module's docstring

    return Lab(folder)


@contextmanager
def _steps(doing: str) -> Iterator[Callable[[str], None]]:
    """Show the current step on a terminal; yield a function that sets it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only for a terminal

    with Console(stderr=True).status(doing) as status:
        yield lambda step: status.update(f"{doing}: {step}")


def _print(rows: list[dict[str, Any]], columns: tuple[Column, ...], *, json: bool) -> None:
    if json:
        print(jsons.dumps(rows, indent=2))
    else:
        print_table(columns, rows)


@app.command()
def up(
    hosts: Annotated[int, typer.Option(min=1, help="One is a network host, the rest compute.")] = 3,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            help="A .toml file: layout of hosts and underlay. Any other file: settings of the "
            "server and agents; repeatable.",
        ),
    ] = None,
    folder: Dir = FOLDER,
) -> None:
    """Create a lab: hosts, a server, and an outside host, in namespaces."""
    from lessor.lab.lab import Lab, usual_hosts  # noqa: PLC0415 - see the module's docstring

    layout = _layout(config or [])
    specs, underlay = (layout.hosts, layout.underlay) if layout else (usual_hosts(hosts), None)
    settings = [path for path in config or [] if not _is_layout(path)]
    with _steps("creating the lab") as step:
        lab = Lab.up(folder, specs, config_files=settings, underlay=underlay, progress=step)
    names = ", ".join(lab.hosts)
    where = "" if folder == FOLDER else f" --dir {shlex.quote(str(folder))}"
    print(
        f"lab in {lab.folder}: {names}\n"
        f"its API: lessor lab exec{where} server -- lessor network list"
    )


def _is_layout(path: Path) -> bool:
    return path.suffix == ".toml"


def _layout(config: list[Path]) -> Layout | None:
    from lessor.lab.layout import read_layout  # noqa: PLC0415 - see the module's docstring

    files = [path for path in config if _is_layout(path)]
    if len(files) > 1:
        names = ", ".join(map(str, files))
        raise Invalid(f"--config {names}: a lab has one layout; give one .toml file")
    return read_layout(files[0]) if files else None


@app.command()
def down(folder: Dir = FOLDER) -> None:
    """Stop and remove the lab; its logs stay in the folder."""
    with _steps("stopping the lab"):
        ended = _lab(folder).down()
    print(f"lab in {folder}: {ended} nodes ended" if ended else f"no lab ran in {folder}")


@app.command()
def status(folder: Dir = FOLDER, json: Json = False) -> None:
    """Show the lab's hosts and their processes."""
    _print(_nodes(_lab(folder)), NODES, json=json)


def _nodes(lab: Lab) -> list[dict[str, Any]]:
    return [
        {
            "name": node.name,
            "address": str(node.address) if node.address else None,
            "tunnel_address": str(node.tunnel_address) if node.tunnel_address else None,
            "network_host": node.network_host,
            "running": lab.node(node.name).is_running(),
            "processes": {what: lab.is_running(node.name, what) for what in node.processes},
        }
        for node in lab.state.nodes.values()
    ]


@app.command("exec", context_settings=PASS_ON)
def exec_(host: HostName, command: Command, folder: Dir = FOLDER) -> None:
    """Run a program on a host, and exit with its status."""
    lab = _lab(folder)
    lab.host_state(host)
    sys.exit(lab.node(host).call(*command))


@app.command()
def kill(
    host: HostName,
    what: What,
    signal: Annotated[str, typer.Option(help="Such as TERM or HUP.")] = "KILL",
    folder: Dir = FOLDER,
) -> None:
    """Kill a program of a host."""
    hit = _lab(folder).kill(host, what, signal)
    print(f"{hit} {what} on {host} got SIG{signal}")


@app.command()
def start(
    host: HostName,
    what: Annotated[
        str, typer.Argument(help="agent, server, ovs-vswitchd or ovsdb-server.")
    ] = "agent",
    folder: Dir = FOLDER,
) -> None:
    """Start a host's agent, or the server, again."""
    with _steps(f"starting {what} on {host}"):
        _lab(folder).start(host, what)


@app.command()
def cut(host: HostName, nic: Nic = "eth0", folder: Dir = FOLDER) -> None:
    """Unplug one cable of a host."""
    _lab(folder).cut(host, nic)


@app.command()
def heal(host: HostName, nic: Nic = "eth0", folder: Dir = FOLDER) -> None:
    """Plug a host's cable in again."""
    _lab(folder).heal(host, nic)


@app.command("power-off")
def power_off(host: HostName, folder: Dir = FOLDER) -> None:
    """Kill a host at once, with its VMs; its disk stays."""
    _lab(folder).power_off(host)


@app.command("power-on")
def power_on(host: HostName, folder: Dir = FOLDER) -> None:
    """Start a host after `power-off`."""
    with _steps(f"starting {host}"):
        _lab(folder).power_on(host)


@app.command()
def guest(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")],
) -> None:
    """Build the kernel and initramfs of a small real guest, for QEMU (-kernel, -initrd)."""
    from lessor.lab.guest import image as made  # noqa: PLC0415 - see the module's docstring

    with _steps("building the guest") as step:
        files = made.copy_guest(made.build_guest(made.default_cache(), step), output)
    print(f"kernel     {files.kernel}\ninitramfs  {files.initramfs}")


@vm_app.command()
def add(  # noqa: PLR0917 - typer makes the options of the arguments
    name: VmName,
    network: Annotated[str, typer.Option(help="Name or id.")],
    host: Annotated[str, typer.Option(help="Host of the VM.")],
    real: Annotated[bool, typer.Option("--real", help="A QEMU guest, not a namespace.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for its lease.")] = 60,
    folder: Dir = FOLDER,
    json: Json = False,
) -> None:
    """Create a VM with a port, and wait for its lease."""
    lab = _lab(folder)
    with _steps(f"{name}: creating it") as step:
        vm = lab.boot(name, host, network, real=real)
        step("waiting for its lease")
        lease = vm.dhcp(timeout_s=timeout)
    row = _vm_row(vm) | {"leased": str(lease.address), "dora_ms": lease.dora_ms}
    _print([row], VMS, json=json)


@vm_app.command("list")
def list_(folder: Dir = FOLDER, json: Json = False) -> None:
    """List the VMs."""
    _print([_vm_row(vm) for vm in _lab(folder).vms()], VMS, json=json)


def _vm_row(vm: Vm) -> dict[str, Any]:
    lease = vm.last_lease()
    assigned = vm.state.assigned
    return asdict(vm.state) | {
        "assigned": str(assigned) if assigned else None,
        "leased": str(lease.address) if lease else None,
        "dora_ms": lease.dora_ms if lease else None,
    }


@vm_app.command("exec", context_settings=PASS_ON)
def vm_exec(name: VmName, command: Command, folder: Dir = FOLDER) -> None:
    """Run a program in a VM."""
    print(_lab(folder).vm(name).exec(*command), end="")


@vm_app.command()
def console(
    name: VmName,
    log: Annotated[bool, typer.Option("--log", help="Print the output so far, and exit.")] = False,
    folder: Dir = FOLDER,
) -> None:
    """Show a real VM's serial console, then connect to it (leave with Ctrl-])."""
    from lessor.lab.guest.console import talk  # noqa: PLC0415 - see the module's docstring
    from lessor.lab.guest.realvm import RealVm  # noqa: PLC0415 - as above

    vm = _lab(folder).vm(name)
    if not isinstance(vm, RealVm):
        raise Invalid(f"VM {name} is a namespace and has no console; see lessor lab vm exec")
    print(vm.console(), end="", flush=True)
    if sys.stdin.isatty() and not log:
        talk(vm.console_socket)


@vm_app.command()
def delete(name: VmName, folder: Dir = FOLDER) -> None:
    """Stop a VM and delete its port."""
    _lab(folder).delete_vm(name)
