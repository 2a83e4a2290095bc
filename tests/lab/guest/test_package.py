"""The modules of a guest's NIC, from kernels packed as in Debian 12, Debian 13 and Ubuntu."""

from __future__ import annotations

import lzma
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lessor.lab.guest.image import build_guest, default_cache
from lessor.lab.guest.package import kernel_tree, nic_modules

pytestmark = pytest.mark.lab  # downloads the kernel

VERSION = "6.12.0-test"


def silent(_: str) -> None:
    pass


def zstd(content: bytes) -> bytes:
    size = (
        f"--stream-size={len(content)}"  # in its header, as of a file: kmod 34 looks for it there
    )
    return subprocess.run(
        ("zstd", "-qc", size), input=content, capture_output=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def modules() -> dict[str, bytes]:
    """Return those of this machine's guest."""
    build_guest(default_cache())
    found = dict(nic_modules(kernel_tree(default_cache(), silent)))
    if not found:
        pytest.skip("the kernel of this system has the drivers built in")
    return found


def needs(module: bytes) -> set[str]:
    """Source: modinfo(8), the section .modinfo of a module."""
    listed = re.search(rb"\0depends=([^\0]*)\0", module)
    assert listed
    return {f"{name}.ko" for name in listed[1].decode().split(",") if name}


@pytest.mark.parametrize(
    ("folder", "suffix", "pack"),
    [
        pytest.param("lib", "", bytes, id="debian-12"),
        pytest.param("usr/lib", ".xz", lzma.compress, id="debian-13"),
        pytest.param("lib", ".zst", zstd, id="ubuntu-24.04"),
    ],
)
def test_modules_of_the_nic_go_in_after_those_they_need(
    folder: str,
    suffix: str,
    pack: Callable[[bytes], bytes],
    modules: dict[str, bytes],
    tmp_path: Path,
) -> None:
    kernel = tmp_path / "linux-image-test" / folder / "modules" / VERSION / "kernel"
    kernel.mkdir(parents=True)
    for name, content in modules.items():
        (kernel / f"{name}{suffix}").write_bytes(pack(content))
    built_in = [name for name in ("virtio_pci",) if f"{name}.ko" not in modules]
    lines = "".join(f"kernel/drivers/{name}.ko\n" for name in built_in)
    (kernel.parent / "modules.builtin").write_text(lines)
    (kernel.parent / "modules.order").write_text("")

    found = nic_modules(kernel_tree(tmp_path, silent))

    assert dict(found) == modules
    names = [name for name, _ in found]
    assert names[-1] == "virtio_net.ko"
    for place, (name, content) in enumerate(found):
        assert needs(content) <= set(names[:place]), name
