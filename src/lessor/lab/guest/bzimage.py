"""Unpacks the kernel of a bzImage, which QEMU boots faster.

QEMU starts an ELF kernel with a PVH note directly; a bzImage first unpacks itself under emulation,
which takes seconds without KVM.
"""

from __future__ import annotations

import lzma
import struct
import subprocess
import zlib

from lessor.errors import CommandError, Invalid

ELF = b"\x7fELF"
SETUP_SECTORS_AT = 0x1F1
PAYLOAD_AT = 0x248  # payload_offset and payload_length
MAGIC_AT, MAGIC = 0x202, b"HdrS"
SECTOR = 512


def vmlinux(bzimage: bytes) -> bytes:
    """Return the ELF kernel in a bzImage.

    Raises:
        Invalid: it isn't a bzImage, or has an unknown compression.
        CommandError: the unpacking program is missing.

    Source: Linux, Documentation/arch/x86/boot.rst (payload_offset).
    """
    if bzimage[MAGIC_AT : MAGIC_AT + 4] != MAGIC:
        raise Invalid("not a bzImage: it has no boot header")
    start = (bzimage[SETUP_SECTORS_AT] + 1) * SECTOR
    offset, length = struct.unpack_from("<II", bzimage, PAYLOAD_AT)
    kernel = _unpacked(bzimage[start + offset : start + offset + length])
    if not kernel.startswith(ELF):
        raise Invalid("not a bzImage: its payload is not an ELF file")
    return kernel


def _unpacked(payload: bytes) -> bytes:
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(payload)  # the length follows the stream
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return through("zstd", payload)
    if payload.startswith(b"\x02\x21\x4c\x18"):
        return through("lz4", payload)
    raise Invalid(f"kernel packed in an unknown way: it starts with {payload[:6].hex()}")


def through(program: str, payload: bytes) -> bytes:
    """Unpack with zstd or lz4; data after the packed stream is ignored.

    In a kernel the length follows the stream: both programs report an error, after unpacking all.

    Raises:
        CommandError: the program is missing, or unpacked nothing.
    """
    try:
        done = subprocess.run((program, "-dc"), input=payload, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise CommandError(
            f"unpacking a kernel: no program {program}; `scripts/setup --lab` installs it"
        ) from error
    if not done.stdout:
        raise CommandError(f"unpacking a kernel: {program}: {done.stderr.decode().strip()}")
    return done.stdout
