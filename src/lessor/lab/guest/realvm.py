"""A real VM: QEMU with a Linux guest, on a tap that the agent created.

It uses the emulator (TCG) and not KVM, because the lab must run without nested virtualization. Its
serial console is a socket in the host's /run, and its output is in the lab's log folder.
"""

from __future__ import annotations

import re
import secrets
import socket
import time
from pathlib import Path

from lessor import offloads, wire
from lessor.errors import CommandError
from lessor.lab.cabling import OUTSIDE
from lessor.lab.capture import Capture
from lessor.lab.demo.dora import dora_ms
from lessor.lab.guest.image import build_guest, default_cache
from lessor.lab.lease import VmLease, parse_lease, read_lease, write_lease
from lessor.lab.node import Node
from lessor.lab.process import Process, is_alive
from lessor.lab.state import VmState
from lessor.lab.vm import tap_name
from lessor.lab.wait import wait_for
from lessor.net.address import Address

MEMORY_MB = 96
TAP_TIMEOUT_S = 30
KERNEL_ARGUMENTS = (
    "console=ttyS0 pci=lastbus=0 panic=-1 reboot=t quiet random.trust_cpu=on tsc=reliable"
)


class RealVm:
    """A VM that is a QEMU process."""

    def __init__(self, node: Node, state: VmState, folder: Path) -> None:
        self.state = state
        self.tap = tap_name(state.port_id)
        self._node = node
        self._folder = folder
        self._capture: Capture | None = None
        self._socket = f"/run/vm-{state.name}.serial"  # in the host; a short path, as sockets need

    @property
    def console_log(self) -> Path:
        """The file with the output of the serial console."""
        return self._node.log(f"vm-{self.state.name}-serial")

    @property
    def console_socket(self) -> Path:
        """The guest's serial console, as a socket of this machine's file system."""
        return Path(f"{self._node.root}{self._socket}")

    def start(self) -> None:
        """Wait for the tap, then start QEMU on it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        guest = build_guest(default_cache())
        tap = self._node.root / "sys/class/net" / self.tap
        wait_for(tap.exists, TAP_TIMEOUT_S, f"{self.tap} is there on {self.state.host}")
        self._capture = Capture(self._node.netns, self.tap)
        self.console_log.unlink(missing_ok=True)
        outside = "" if self.state.overlay else f"lessor.outside=http://{OUTSIDE}/"
        none_left = f",{offloads.QEMU}" if self.state.overlay else ""
        qemu = self._node.spawn(
            f"vm-{self.state.name}",
            *("qemu-system-x86_64", "-M", "pc,accel=tcg,usb=off", "-cpu", "max"),
            *("-m", str(MEMORY_MB), "-smp", "1", "-nodefaults", "-no-user-config"),
            *("-display", "none", "-no-reboot"),
            *(
                "-chardev",
                f"socket,id=s0,path={self._socket},server=on,wait=off,logfile={self.console_log}",
            ),
            *("-serial", "chardev:s0", "-kernel", str(guest.kernel)),
            *("-initrd", str(guest.initramfs), "-append", f"{KERNEL_ARGUMENTS} {outside}"),
            *("-netdev", f"tap,id=n0,ifname={self.tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,romfile=,netdev=n0,mac={self.state.mac}{none_left}"),
        )
        (self._folder / "qemu.json").write_bytes(wire.encode(qemu))

    def console(self) -> str:
        """Return the console's output so far."""
        log = self.console_log
        return log.read_text(errors="replace") if log.exists() else ""

    def report(self, timeout_s: float = 60) -> dict[str, str]:
        """Wait until the guest has run its checks, and return the results by key.

        Keys: LEASE, instance-id, hostname, GATEWAY ("ok"), OUTSIDE (its address after SNAT).
        """
        what = f"VM {self.state.name} says DONE on its console"
        wait_for(lambda: "\nDONE " in self._alive_console(), timeout_s, what)
        said = self.console()
        report = dict(re.findall(r"^(LEASE|GATEWAY|OUTSIDE) (.*?)\r?$", said, re.MULTILINE))
        return report | dict(re.findall(r"^META ([a-z-]+)=(.*?)\r?$", said, re.MULTILINE))

    def _alive_console(self) -> str:
        qemu = self._qemu()
        if qemu is None or not is_alive(qemu, self._node.proc):
            words = self._node.last_words(f"vm-{self.state.name}")
            raise CommandError(f"VM {self.state.name}: QEMU has ended: {words or 'without a word'}")
        said = self.console()
        failed = re.search(r"^FAILED (.*?)\r?$", said, re.MULTILINE)
        if failed:
            raise CommandError(f"VM {self.state.name}: its guest can't start: {failed[1]}")
        return said

    def _qemu(self) -> Process | None:
        path = self._folder / "qemu.json"
        return wire.decode(path.read_bytes(), Process) if path.exists() else None

    def dhcp(self, timeout_s: float = 60) -> VmLease:
        """Wait for the lease that the guest requests at boot."""
        what = f"VM {self.state.name} has a lease"
        wait_for(lambda: "\nLEASED " in self._alive_console(), timeout_s, what)
        lease = self._booted_lease(self._dora_ms())
        write_lease(self._folder, lease)
        return lease

    def last_lease(self) -> VmLease | None:
        """Return the lease that `dhcp` stored."""
        return read_lease(self._folder)

    def _dora_ms(self) -> float | None:
        if self._capture is None:
            known = self.last_lease()
            return known.dora_ms if known else None
        took_ms = dora_ms(self._capture.messages(), self.state.mac)
        self._end_capture()
        return took_ms

    def _end_capture(self) -> None:
        if self._capture is not None:
            self._capture.close()
            self._capture = None

    def _booted_lease(self, took_ms: float | None) -> VmLease:
        words = re.findall(r"^LEASE (.*?)\r?$", self.console(), re.MULTILINE)[-1]
        return parse_lease(words.replace(";", "\n"), took_ms)

    def lease(self) -> VmLease | None:
        """Return the guest's present lease."""
        text = self.exec("sh", "-c", "cat /run/lease 2>/dev/null || true")
        return parse_lease(text) if text else None

    def events(self) -> list[str]:
        """Return its DHCP client's events."""
        return self.exec("cat", "/run/events").split()

    def renew(self) -> None:
        """Renew: udhcpc renews on SIGUSR1."""
        self.exec("killall", "-USR1", "udhcpc")

    def exec(self, *argv: str, timeout_s: float = 30) -> str:
        """Type a command into the guest's shell and return its output.

        The marks around the output are split in the command, so that the echo doesn't match.
        """
        mark = secrets.token_hex(4)
        words = " ".join("'" + word.replace("'", "'\\''") + "'" for word in argv)
        line = f"echo BEGIN''-{mark}; {words}; echo END''-{mark}-$?\n"
        said = self._type(line, re.compile(rf"END-{mark}-(\d+)"), timeout_s).replace("\r", "")
        found = re.search(rf"BEGIN-{mark}\n(.*)END-{mark}-(\d+)", said, re.DOTALL)
        assert found is not None
        if found[2] != "0":
            raise CommandError(
                f"{' '.join(argv)} in {self.state.name}: exit {found[2]}: {found[1]}"
            )
        return found[1]

    def _type(self, line: str, end: re.Pattern[str], timeout_s: float) -> str:
        with socket.socket(socket.AF_UNIX) as console:
            console.connect(str(self.console_socket))
            console.sendall(line.encode())
            console.settimeout(timeout_s)
            limit = time.monotonic() + timeout_s
            said = ""
            while not end.search(said):
                said += console.recv(4096).decode(errors="replace")
                if time.monotonic() > limit:
                    raise TimeoutError(f"{self.state.name} didn't end {line.strip()!r}: {said!r}")
        return said

    def ping(self, address: Address, timeout_s: int = 2) -> bool:
        """Send one echo request."""
        try:
            self.exec("ping", "-c", "1", "-W", str(timeout_s), str(address))
        except CommandError:
            return False
        return True

    def http(self, url: str, timeout_s: float = 5) -> str:
        """Fetch a page with the guest's wget."""
        return self.exec("timeout", str(max(1, int(timeout_s))), "wget", "-q", "-O", "-", url)

    def stop(self) -> None:
        """Kill QEMU."""
        qemu = self._qemu()
        if qemu is not None:
            self._node.kill(qemu)
        self._end_capture()
