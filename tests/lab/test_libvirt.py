"""docs/how-to/use-libvirt.md with libvirtd, Debian guests with cloud-init, ssh between hosts.

The page is typed on cmp1, a host of a fleet, where the API doesn't listen. On each kind of network
one guest has the tap that the agent makes, the other one a tap that libvirt makes. What is asked of
a guest is asked by ssh from another VM of its network: with the key and the user data that the page
gives it, by TCP.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lessor import offloads
from lessor.errors import CommandError
from lessor.lab.cabling import SERVER as SERVER_ADDRESS
from lessor.lab.lab import Lab
from lessor.lab.process import run
from lessor.lab.services import SERVER
from lessor.lab.settings_file import API_PORT
from lessor.lab.state import HostSpec
from lessor.lab.vm import NetnsVm
from tests.docs.follow import Reader
from tests.docs.page import FENCE, sections, steps
from tests.docs.terminal import Terminal
from tests.lab import debian, hypervisor
from tests.lab.debian import Guest

PAGES = Path(__file__).parents[2] / "docs/how-to"
PAGE = (PAGES / "use-libvirt.md").read_text()
VXLAN_PAGE = (PAGES / "vxlan-networks.md").read_text()


def part(heading: str, page: str = PAGE) -> str:
    [found] = [text for text in sections(page) if text.startswith(f"## {heading}\n")]
    return found


# Read with the module, so that a page whose headings changed fails the short part of the tests, too
NETWORK = part("Create a network", VXLAN_PAGE)
AGENT_CREATES, LIBVIRT_CREATES = part("The agent creates the tap"), part("libvirt creates the tap")
NAMES, MIGRATE = part("Names and metadata"), part("Migrate a running VM")
OWNER, OLD, NEW = "net1", "cmp1", "cmp2"
LOG = logging.getLogger(__name__)
LIMIT_S, TYPED_S, BOOT_S, FIRST_BOOT_S = 30, 120, 300, 200
SOME = 10  # pings; a second of them
MOST_LOST = 3
PATIENT = 'virsh() { command virsh "$@" </dev/null; }'  # at a terminal it drops what is typed ahead
TEXT = "TCP " * 50_000  # many segments
FETCH = "import urllib.request as u; print(len(u.urlopen('http://{}', timeout=20).read()))"
KNOWN = "ssh-ed25519 AAAA me"  # the page's key
DOMAIN = """\
<domain type="qemu">
  <name>{name}</name>
  <memory unit="MiB">512</memory>
  {sysinfo}
  <os>
    <type arch="x86_64" machine="pc">hvm</type>
    <kernel>{guest.kernel}</kernel>
    <initrd>{guest.initrd}</initrd>
    <cmdline>{arguments}</cmdline>
    {smbios}
  </os>
  <features><acpi/></features>
  <cpu mode="maximum"/>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw"/>
      <source file="{guest.disk}"/>
      <target dev="vda" bus="virtio"/>
      <readonly/>
    </disk>
    {nic}
    <serial type="file"><source path="{serial}" append="on"/></serial>
    <rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
    <memballoon model="none"/>
  </devices>
</domain>
"""

pytestmark = [pytest.mark.lab, pytest.mark.long]


@dataclass(frozen=True)
class Vm:
    number: int  # from 1
    network: str

    @property
    def name(self) -> str:
        return f"vm{self.number}"

    @property
    def hostname(self) -> str:
        return f"web{self.number}"

    @property
    def device(self) -> str:
        return f"3f2a9c{self.number}e"


AGENT_S, LIBVIRT_S = "the-agent-makes-the-tap", "libvirt-makes-the-tap"
KINDS = {
    "flat": {AGENT_S: Vm(1, "blue"), LIBVIRT_S: Vm(2, "blue")},
    "vxlan": {AGENT_S: Vm(3, "red"), LIBVIRT_S: Vm(4, "red")},
}


# --- the page -------------------------------------------------------------------------------------


def blocks(text: str, kind: str) -> list[str]:
    return [body for found, _, body in FENCE.findall(text) if found == kind]


def inline(text: str, beginning: str) -> str:
    """Return the command in a sentence that begins so."""
    found = re.search(rf"`({re.escape(beginning)}[^`]*)`", text)
    assert found, f"the page doesn't say {beginning}"
    return found[1]


def of(vm: Vm, text: str) -> str:
    """Return what the page says of its own VM as it is for this one."""
    text = re.sub(r"\bvm[12]\b", vm.name, text).replace("blue", vm.network)
    return text.replace("3f2a9c1e", vm.device).replace(
        "--hostname web", f"--hostname {vm.hostname}"
    )


# --- the fleet ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    with TemporaryDirectory(prefix="lessor-guest-") as folder:
        yield debian.build(Path(folder))


@pytest.fixture(scope="module")
def lab(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    hosts = [HostSpec(name=n, network_host=n == OWNER, overlay=True) for n in (OWNER, OLD, NEW)]
    lab = Lab.up(tmp_path_factory.mktemp("libvirt") / "lab", hosts)
    try:
        listen_for_hosts(lab)
        hypervisor.start(lab, (OLD, NEW))
        key = ("-t", "ed25519", "-N", "", "-C", "me", "-f", str(lab.folder / "guest-key"))
        run(("ssh-keygen", "-q", *key))
        yield lab
    finally:
        lab.down()


def listen_for_hosts(lab: Lab) -> None:
    """Let the API listen beyond its own host: the lab's network has no others."""
    settings = lab.node(SERVER).etc_dir / "lessor.conf"
    here, everywhere = f"\nlisten = 127.0.0.1:{API_PORT}\n", f"\nlisten = 0.0.0.0:{API_PORT}\n"
    text = settings.read_text()
    assert here in text
    settings.write_text(text.replace(here, f"{everywhere}insecure_listen = true\n"))
    lab.kill(SERVER, SERVER, "TERM")
    lab.start(SERVER, SERVER)


def public_key(lab: Lab) -> str:
    return (lab.folder / "guest-key.pub").read_text().strip()


@pytest.fixture(scope="module")
def reader(lab: Lab) -> Iterator[Reader]:
    with ExitStack() as opened:

        def terminal(_: str) -> Terminal:
            node = lab.node(OLD)
            own = {"HOME": hypervisor.HOME, "TERM": "xterm"}
            server = {"LESSOR_SERVER": f"http://{SERVER_ADDRESS}:{API_PORT}"}
            shell = ("setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting")
            made = Terminal((*node.entering(), *shell), node.env() | own | server)
            opened.callback(made.close)
            made.run(PATIENT)
            return made

        yield Reader(terminal)


# --- the guests -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Running:
    """The two guests of a network, and another VM of it."""

    kind: str
    lab: Lab
    peer: NetnsVm

    def port(self, vm: Vm) -> dict[str, Any]:
        return self.lab.api.find("ports", vm.name)

    def address(self, vm: Vm) -> IPv4Address:
        return IPv4Address(self.port(vm)["fixed_ips"][0]["ip_address"])

    def ask(self, vm: Vm, command: str, timeout_s: float = LIMIT_S) -> str:
        """Run a shell's command in the guest."""
        nobody = ("-F", "/dev/null", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
        options = (
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=5",
        )
        key = ("-i", str(self.lab.folder / "guest-key"))
        at = f"{debian.USER}@{self.address(vm)}"
        return self.peer.exec("ssh", *nobody, *options, *key, at, command, timeout_s=timeout_s)

    def is_up(self, vm: Vm) -> bool:
        said = self.lab.node(OLD).log(f"{vm.name}-serial").read_text(errors="replace")
        assert "Kernel panic" not in said, said
        try:
            self.ask(vm, "true")
        except CommandError:
            return False
        return True

    def bytes_fetched(self, vm: Vm) -> int:
        """Have the guest fetch the other VM's page."""
        return int(self.ask(vm, f'python3 -c "{FETCH.format(self.peer.state.assigned)}"'))


@pytest.fixture(scope="module", params=list(KINDS))
def running(request: pytest.FixtureRequest, lab: Lab, reader: Reader, guest: Guest) -> Running:
    """Type the page for a kind of network, up to guests that are up."""
    kind = request.param
    vms = KINDS[kind]
    reader.terminal().run(network_command(kind))
    nics = {AGENT_S: plugged(reader, vms[AGENT_S]), LIBVIRT_S: described(reader, vms[LIBVIRT_S])}
    sysinfo, smbios = identities(reader, vms, public_key(lab))
    for way, vm in vms.items():
        nic = "" if way == AGENT_S else nics[way]
        domain = DOMAIN.format(
            name=vm.name, sysinfo=sysinfo, smbios=smbios, guest=guest, nic=nic,
            arguments=debian.ARGUMENTS, serial=lab.node(OLD).log(f"{vm.name}-serial"),
        )  # fmt: skip
        home = lab.node(OLD).root / hypervisor.HOME[1:]
        (home / f"{vm.name}.xml").write_text(domain)
        reader.terminal().run(f"virsh define {vm.name}.xml")
        if way == AGENT_S:
            reader.terminal().run(of(vm, inline(PAGE, "virsh attach-device")))
    for vm in vms.values():
        reader.terminal().run(f"virsh start {vm.name}", TYPED_S)
    peer = lab.boot(f"peer-{kind}", OWNER, vms[AGENT_S].network)
    assert isinstance(peer, NetnsVm)
    lab.wait_active(peer, LIMIT_S)
    peer.dhcp(LIMIT_S)
    peer.serve(TEXT)
    made = Running(kind, lab, peer)
    for vm in vms.values():
        lab.wait_for(partial(made.is_up, vm), BOOT_S, f"{vm.name} takes its key by ssh")
        made.ask(vm, "cloud-init status --wait --long", FIRST_BOOT_S)
    return made


def network_command(kind: str) -> str:
    """Return the page's words for a network, or those of the page about vxlan networks."""
    if kind == "flat":
        return inline(PAGE, "lessor network create blue")
    [command, *_] = blocks(NETWORK, "sh")
    return command


def type_for(reader: Reader, vm: Vm, text: str) -> str:
    """Type a part of the page for a VM and return the output; the page shows flat networks."""
    before = len(reader.seen)
    for step in steps(text):
        shown = step.shown if vm.network == "blue" else ()
        reader.follow([replace(step, typed=of(vm, step.typed), shown=shown)], TYPED_S)
    return "".join(said for _, said in reader.seen[before:])


def plugged(reader: Reader, vm: Vm) -> str:
    return type_for(reader, vm, AGENT_CREATES)


def described(reader: Reader, vm: Vm) -> str:
    """Return the <interface> that a reader makes of the page's and of what `port show` says."""
    text = LIBVIRT_CREATES
    said = type_for(reader, vm, text)
    nic, virtual_port = blocks(text, "xml")
    if 'bridge_name="br-int"' in said:
        nic = re.sub(r" *<source .*\n", virtual_port, nic)
    if f'datapath_type="{offloads.NETDEV}"' in said:
        [driver] = [block for block in blocks(VXLAN_PAGE, "xml") if "csum" in block]
        nic = nic.replace("</interface>", f"{driver}</interface>")
    tap, mac = (
        re.findall(r'tap_name="(\S+)"', said)[-1],
        re.findall(r"mac_address +(\S+)", said)[-1],
    )
    return re.sub("fa:16:3e(:..){3}", mac, re.sub(r"tap[\w-]+", tap, nic))


def identities(reader: Reader, vms: dict[str, Vm], key: str) -> tuple[str, str]:
    """Make the instances; return what a domain has for its guest to ask for metadata."""
    said = {}
    for way, vm in vms.items():
        for step in steps(NAMES):
            if way == LIBVIRT_S and "port plug" in step.typed:
                continue  # it would make the tap
            typed = of(vm, step.typed).replace(KNOWN, key)
            reader.follow([replace(step, typed=typed)])
        said[way] = reader.seen[-1][1]
    found = re.search(r"<sysinfo.*?</sysinfo>", said[AGENT_S], re.DOTALL)
    smbios = re.search(r"<smbios [^>]*/>", said[AGENT_S])
    assert found and smbios
    return found[0], smbios[0]


# --- what is promised -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", [AGENT_S, LIBVIRT_S])
def test_a_guest_has_what_the_page_promises(lab: Lab, running: Running, way: str) -> None:
    vms = KINDS[running.kind]
    vm = vms[way]
    assert running.port(vm)["status"] == "ACTIVE"
    said = running.ask(vm, "ip -o -4 address show scope global")
    assert [f"{running.address(vm)}/24"] == re.findall(r"inet (\S+)", said)
    assert running.ask(vm, "hostname").strip() == vm.hostname
    for named in vms.values():
        found = running.ask(vm, f"getent ahostsv4 {named.hostname}.novalocal").split()
        assert found[0] == str(running.address(named)), "its name in DNS"
    assert public_key(lab) in running.ask(vm, "cat .ssh/authorized_keys")
    assert running.ask(vm, "cat /var/lib/cloud/data/instance-id").strip() == vm.device
    running.ask(vm, "test -e /run/user-data-ran")
    assert running.bytes_fetched(vm) == len(TEXT) + 1


@pytest.mark.parametrize("way", [AGENT_S, LIBVIRT_S])
def test_a_guest_moves_while_it_is_pinged(
    lab: Lab, running: Running, reader: Reader, way: str
) -> None:
    vm = KINDS[running.kind][way]
    [move, *_] = blocks(MIGRATE, "")
    pings = Pings(lab, running.peer, running.address(vm))
    reader.terminal().run(of(vm, move), TYPED_S)
    lost, of_all, late_ms = pings.lost()
    said = "%s, %s: %d of %d pings lost, the latest answered after %.0f ms"
    LOG.info(said, running.kind, way, lost, of_all, late_ms)
    assert lost <= MOST_LOST
    assert lab.exec(NEW, "virsh", "domstate", vm.name).strip() == "running"
    port = running.port(vm)
    assert (port["binding:host_id"], port["status"]) == (NEW, "ACTIVE")
    assert running.ask(vm, "hostname").strip() == vm.hostname
    assert running.bytes_fetched(vm) == len(TEXT) + 1
    lab.wait_for(lambda: not has_tap(lab, OLD, port), LIMIT_S, f"the tap of {OLD} is gone")
    assert has_tap(lab, NEW, port)


def has_tap(lab: Lab, host: str, port: dict[str, Any]) -> bool:
    return (lab.node(host).root / "sys/class/net" / f"tap{port['id'][:11]}").exists()


class Pings:
    """Ten a second, from a VM to an address, until it is asked how many were lost."""

    def __init__(self, lab: Lab, vm: NetnsVm, address: IPv4Address) -> None:
        self._lab, self._node = lab, lab.node(OWNER)
        self._log = self._node.log(f"ping-{address}")
        self._process = self._node.spawn(
            f"ping-{address}", "ping", "-n", "-i", "0.1", str(address), netns=vm.netns
        )
        self._wait_for_some()

    def _answered(self) -> set[int]:
        return set(map(int, re.findall(r"icmp_seq=(\d+) ttl", self._log.read_text())))

    def _wait_for_some(self) -> None:
        """Wait for answers to pings that are still to be sent."""
        enough = max(self._answered(), default=0) + SOME

        def answered() -> bool:
            return max(self._answered(), default=0) > enough

        self._lab.wait_for(answered, LIMIT_S, "pings are answered")

    def lost(self) -> tuple[int, int, float]:
        """Wait until they are answered and end them.

        Return how many were not, of how many, and the longest that an answer took: what was sent to
        the VM while it was paused waits in its tap.
        """
        self._wait_for_some()
        self._node.kill(self._process, "INT")
        answered = self._answered()
        took_ms = map(
            float, re.findall(r" ttl=\d+ time=(\S+) ms$", self._log.read_text(), re.MULTILINE)
        )
        return max(answered) - len(answered), max(answered), max(took_ms)
