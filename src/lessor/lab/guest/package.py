"""The kernel of the lab's real guests, from a package of Debian or Ubuntu.

The package is downloaded and unpacked into a cache, never installed. Which drivers of a NIC are
modules, and in which order they go in, differs between kernels: kmod's own programs say it.
"""

from __future__ import annotations

import lzma
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lessor.errors import CommandError, NotFound
from lessor.lab.guest.bzimage import through, vmlinux
from lessor.lab.process import run

# Debian, Ubuntu; each depends on the package of the present version
PACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")
VERSIONED = re.compile(r"Depends: (linux-image-\d\S+)")
MODULES_PACKAGE = re.compile(r"Depends: (linux-modules-\d\S+)")  # Ubuntu packs them apart
DRIVERS = ("virtio_pci", "virtio_net")
DOWNLOAD_TIMEOUT_S = 600
UNPACK_TIMEOUT_S = 120

Progress = Callable[[str], None]


def kernel_tree(cache: Path, progress: Progress) -> Path:
    """Return the unpacked kernel package; one that the cache has is taken, whatever its version.

    Raises:
        CommandError: it can't be downloaded or unpacked.
        NotFound: apt knows no such package.
    """
    present = sorted(cache.glob("linux-image-*"))
    if present:
        _index_modules(present[-1])
        return present[-1]
    package = _package()
    progress(f"downloading {package}")
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        folder, tree = Path(scratch), Path(scratch) / "tree"
        found = MODULES_PACKAGE.search(run(("apt-cache", "depends", package)))
        _download(folder, [package, found[1]] if found else [package])
        for file in folder.glob("*.deb"):
            run(("dpkg", "-x", str(file), str(tree)), timeout_s=UNPACK_TIMEOUT_S)
        _index_modules(tree)
        tree.rename(cache / package)
    return cache / package


def _package() -> str:
    for package in PACKAGES:
        with suppress(CommandError):  # exit 100: apt doesn't know it
            found = VERSIONED.search(run(("apt-cache", "depends", package)))
            if found:
                return found[1]
    raise NotFound(
        f"a real guest needs Debian's {PACKAGES[0]} or Ubuntu's {PACKAGES[1]}; apt has neither; "
        "try apt-get update, or use no real guests"
    )


def _download(folder: Path, packages: list[str]) -> None:
    try:
        run(
            ("env", f"--chdir={folder}", "apt-get", "download", *packages),
            timeout_s=DOWNLOAD_TIMEOUT_S,
        )
    except CommandError as error:
        raise CommandError(
            f"a real guest needs the kernel of package {packages[0]}, which can't be downloaded; "
            f"is there a network, and is the list of packages fresh (apt-get update)? {error}"
        ) from error


def _version(tree: Path) -> str:
    return next((tree / "lib/modules").iterdir()).name


def _index_modules(tree: Path) -> None:
    """Write modules.dep, which a package leaves to its installation.

    kmod looks below lib/, where Debian 13 has nothing any more: its modules are in usr/lib.
    """
    if not (tree / "lib").exists():
        (tree / "lib").symlink_to("usr/lib")
    version = _version(tree)
    if not (tree / "lib/modules" / version / "modules.dep").exists():
        run(("depmod", "--basedir", str(tree), version), timeout_s=UNPACK_TIMEOUT_S)


def kernel_image(tree: Path) -> bytes:
    """Return the ELF kernel of an unpacked package."""
    return vmlinux(next((tree / "boot").glob("vmlinuz-*")).read_bytes())


def nic_modules(tree: Path) -> list[tuple[str, bytes]]:
    """Return name and unpacked content of the modules of a virtio NIC, in the order of insmod.

    Drivers that the kernel has built in are left out.

    Raises:
        CommandError: the kernel lacks one of the drivers.
    """
    options = ("--dirname", str(tree), "--config", "/dev/null", "--set-version", _version(tree))
    found: dict[str, bytes] = {}
    for driver in DRIVERS:
        for line in run(("modprobe", *options, "--show-depends", driver)).splitlines():
            how, path = line.split()[:2]
            if how == "insmod":
                file = Path(path)
                found.setdefault(f"{file.name.partition('.')[0]}.ko", _module(file))
    return list(found.items())


def _module(file: Path) -> bytes:
    content = file.read_bytes()
    if file.suffix == ".xz":  # Debian 13
        return lzma.decompress(content)
    if file.suffix == ".zst":  # Ubuntu 24.04
        return through("zstd", content)
    return content
