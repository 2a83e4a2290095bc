from __future__ import annotations

import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from lessor.errors import Invalid
from lessor.lab.guest.bzimage import vmlinux
from lessor.lab.guest.image import is_dynamic

KERNEL = b"\x7fELF" + bytes(range(256)) * 40
SETUP_SECTORS = 4


def bzimage(payload: bytes) -> bytes:
    head = bytearray((SETUP_SECTORS + 1) * 512)
    head[0x1F1] = SETUP_SECTORS
    head[0x202:0x206] = b"HdrS"
    offset = 100
    struct.pack_into("<II", head, 0x248, offset, len(payload))
    return bytes(head) + b"\x90" * offset + payload + b"trailer"


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_the_kernel_in_a_bzimage_is_found(pack: Callable[[bytes], bytes]) -> None:
    length = struct.pack("<I", len(KERNEL))  # follows the stream in a real one
    assert vmlinux(bzimage(pack(KERNEL) + length)) == KERNEL


@pytest.mark.parametrize(
    ("image", "why"),
    [
        pytest.param(b"", "no boot header", id="empty"),
        pytest.param(bzimage(b"????????"), "unknown way", id="unknown-packing"),
        pytest.param(bzimage(gzip.compress(b"no kernel")), "not an ELF file", id="no-kernel"),
    ],
)
def test_what_is_no_kernel_is_refused(image: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        vmlinux(image)


def test_a_program_with_shared_libraries_is_known() -> None:
    assert is_dynamic(Path("/bin/sh").read_bytes())
    assert not is_dynamic(Path("/bin/busybox").read_bytes())
