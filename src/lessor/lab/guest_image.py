"""Makes the kernel and the initramfs of the lab's real guests, from Debian packages.

The kernel package is downloaded and unpacked into a cache, never installed. The initramfs is
busybox, the virtio modules, and our two scripts in guest/.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import platform
import re
import shutil
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lessor.errors import CommandError, Invalid, NotFound
from lessor.lab.kernel import vmlinux
from lessor.lab.process import run

KERNEL_PACKAGE = "linux-image-cloud-amd64"  # depends on the package of the present version
BUSYBOX = Path("/bin/busybox")
SCRIPTS = Path(__file__).parent / "guest"
DOWNLOAD_TIMEOUT_S = 600
# In the order that insmod needs; one that a kernel has built in is left out.
MODULES = (
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
)
PT_INTERP = 3  # elf(5): the program header of a dynamically linked program

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Guest:
    """What QEMU needs to boot a guest."""

    kernel: Path
    initramfs: Path


def default_cache() -> Path:
    """Return where kernels are kept between labs (XDG Base Directory Specification)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "lessor"


def build_guest(cache: Path, progress: Progress = lambda _: None) -> Guest:
    """Return kernel and initramfs, made now if the cache hasn't got them.

    Raises:
        CommandError: a package can't be downloaded, or a program is missing.
        Invalid: this machine's architecture or busybox can't be used.
    """
    if platform.machine() != "x86_64":
        raise Invalid(f"real guests run on x86_64 only; this machine is {platform.machine()}")
    cache.mkdir(parents=True, exist_ok=True)
    tree = _kernel_tree(cache, progress)
    kernel = tree / "vmlinux"
    if not kernel.exists():
        progress("unpacking the kernel")
        image = next((tree / "boot").glob("vmlinuz-*"))
        _write_whole(kernel, vmlinux(image.read_bytes()))
    initramfs = tree / f"initramfs-{_inputs_digest()}.gz"
    if not initramfs.exists():
        progress("making the initramfs")
        _write_whole(initramfs, _initramfs(tree))
    return Guest(kernel, initramfs)


def copy_guest(guest: Guest, folder: Path) -> Guest:
    """Put kernel and initramfs where a person wants them, as vmlinux and initramfs.gz."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = Guest(folder / "vmlinux", folder / "initramfs.gz")
    shutil.copyfile(guest.kernel, copy.kernel)
    shutil.copyfile(guest.initramfs, copy.initramfs)
    return copy


def _kernel_tree(cache: Path, progress: Progress) -> Path:
    """Return the unpacked kernel package; an older one does if no newer can be asked for."""
    present = sorted(cache.glob("linux-image-*-cloud-amd64"))
    if present:
        return present[-1]
    package = _kernel_package()
    progress(f"downloading {package}")
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        folder = Path(scratch)
        try:
            run(
                ("env", f"--chdir={folder}", "apt-get", "download", package),
                timeout_s=DOWNLOAD_TIMEOUT_S,
            )
        except CommandError as error:
            raise CommandError(
                f"a real guest needs the kernel of Debian's {package}, which can't be downloaded; "
                f"is there a network, and is the list of packages fresh (apt-get update)? {error}"
            ) from error
        run(("dpkg", "-x", str(next(folder.glob("*.deb"))), str(folder / "tree")), timeout_s=120)
        (folder / "tree").rename(cache / package)
    return cache / package


def _kernel_package() -> str:
    listing = run(("apt-cache", "depends", KERNEL_PACKAGE))
    found = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", listing)
    if not found:
        raise NotFound(
            f"a real guest needs Debian's {KERNEL_PACKAGE}, which apt doesn't know; "
            "try apt-get update, or do without real guests"
        )
    return found[1]


def _inputs_digest() -> str:
    """Name what an initramfs is made of, so that a change makes a new one."""
    digest = hashlib.sha256(repr(MODULES).encode())
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
        names = [name for name in (_put_module(tree, name, root) for name in MODULES) if name]
        (root / "lib" / "modules.list").write_text("\n".join(names) + "\n")
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


def _put_module(tree: Path, name: str, root: Path) -> str:
    """Copy a module, unpacked; "" if the kernel has none of this name."""
    found = next(tree.glob(f"lib/modules/*/kernel/{name}*"), None)
    if found is None:
        return ""
    content = found.read_bytes()
    if found.suffix == ".xz":  # Debian 13
        content = lzma.decompress(content)
    target = root / "lib" / Path(name).name
    target.write_bytes(content)
    return target.name


def is_dynamic(program: bytes) -> bool:
    """Tell whether a 64-bit ELF program asks for shared libraries.

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
