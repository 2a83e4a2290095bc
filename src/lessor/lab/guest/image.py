"""Builds the kernel and the initramfs of the lab's real guests.

The kernel comes from a package. The initramfs has busybox, the modules of a virtio NIC, and our two
scripts in guest/.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import platform
import shutil
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lessor.errors import Invalid, NotFound
from lessor.lab.guest.package import DRIVERS, Progress, kernel_image, kernel_tree, nic_modules
from lessor.lab.process import run

BUSYBOX = Path("/bin/busybox")
SCRIPTS = Path(__file__).parent
PT_INTERP = 3  # elf(5): the program header of a dynamically linked program


@dataclass(frozen=True, slots=True)
class Guest:
    """Files for QEMU to boot a guest."""

    kernel: Path
    initramfs: Path


def default_cache() -> Path:
    """Return the folder for kernels between labs (XDG Base Directory Specification)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "lessor"


def build_guest(cache: Path, progress: Progress = lambda _: None) -> Guest:
    """Return kernel and initramfs, from the cache or newly built.

    Raises:
        CommandError: a package can't be downloaded, a program or a driver is missing.
        Invalid: this machine's architecture or busybox is unsuitable.
    """
    if platform.machine() != "x86_64":
        raise Invalid(f"real guests run on x86_64 only; this machine is {platform.machine()}")
    cache.mkdir(parents=True, exist_ok=True)
    tree = kernel_tree(cache, progress)
    kernel = tree / "vmlinux"
    if not kernel.exists():
        progress("unpacking the kernel")
        _write_whole(kernel, kernel_image(tree))
    initramfs = tree / f"initramfs-{_inputs_digest()}.gz"
    if not initramfs.exists():
        progress("making the initramfs")
        _write_whole(initramfs, _initramfs(tree))
    return Guest(kernel, initramfs)


def copy_guest(guest: Guest, folder: Path) -> Guest:
    """Copy kernel and initramfs to a folder, as vmlinux and initramfs.gz."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = Guest(folder / "vmlinux", folder / "initramfs.gz")
    shutil.copyfile(guest.kernel, copy.kernel)
    shutil.copyfile(guest.initramfs, copy.initramfs)
    return copy


def _inputs_digest() -> str:
    """Return the digest of an initramfs' inputs, so that a change builds a new one."""
    digest = hashlib.sha256(repr(DRIVERS).encode())
    for path in (BUSYBOX, SCRIPTS / "init", SCRIPTS / "lease.sh"):
        if not path.exists():
            raise NotFound(f"a real guest needs {path}; install busybox-static")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _initramfs(tree: Path) -> bytes:
    if is_dynamic(BUSYBOX.read_bytes()):
        raise Invalid(f"{BUSYBOX} needs shared libraries; install busybox-static")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for folder in ("bin", "lib"):
            (root / folder).mkdir()
        _put(root / "bin" / "busybox", BUSYBOX.read_bytes())
        _put(root / "init", (SCRIPTS / "init").read_bytes())
        _put(root / "lib" / "lease.sh", (SCRIPTS / "lease.sh").read_bytes())
        (root / "bin" / "sh").symlink_to("busybox")
        modules = nic_modules(tree)
        for name, content in modules:
            _put(root / "lib" / name, content)
        (root / "lib" / "modules.list").write_text("".join(f"{name}\n" for name, _ in modules))
        archive = root.with_suffix(".cpio")
        files = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        # busybox cpio says "N blocks" on standard error, the archive itself isn't text
        run(
            (
                "env",
                f"--chdir={root}",
                str(BUSYBOX),
                "cpio",
                "-o",
                "-H",
                "newc",
                "-F",
                str(archive),
            ),
            stdin=files + "\n",
        )
        packed = gzip.compress(archive.read_bytes(), mtime=0)
        archive.unlink()
    return packed


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def is_dynamic(program: bytes) -> bool:
    """Return whether a 64-bit ELF program needs shared libraries.

    Source: elf(5), e_phoff, e_phentsize, e_phnum, p_type.
    """
    (start,) = struct.unpack_from("<Q", program, 0x20)
    size, count = struct.unpack_from("<HH", program, 0x36)
    types = [struct.unpack_from("<I", program, start + size * n)[0] for n in range(count)]
    return PT_INTERP in types


def _write_whole(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
