"""Runs nft in this process, and counts the changes of the host's nftables.

A program that changes nftables takes 20 ms, most of which the kernel waits for at its end; the
library that nft is made of (libnftables) takes 1 to 8 ms for the same, since its socket stays open.

The kernel counts the changes of a namespace's nftables, whoever makes them: as long as the count is
the same, everything is as it was. A table needn't be listed to know that.

Source: libnftables(3); linux/netfilter/nf_tables.h (NFT_MSG_GETGEN).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from pathlib import Path

from lessor.agent.host.run import run
from lessor.errors import CommandError

LIBRARY = "libnftables.so.1"
NETFILTER = 12  # NETLINK_NETFILTER, linux/netlink.h
JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON
GET_GENERATION = 10 << 8 | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = "/proc/thread-self/ns/net"

_HEAD = struct.Struct("=IHHII")  # nlmsghdr
_FAMILY = struct.Struct("=BBH")  # nfgenmsg
_ATTRIBUTE = struct.Struct("=HH")
_COUNT = struct.Struct("!I")  # NFTA_GEN_ID
_REQUEST = 0x1  # NLM_F_REQUEST


class Nft:
    """The nftables of the namespace in which this is made. For one thread; to be closed.

    Raises:
        OSError: there is no such library on this host.
    """

    def __init__(self) -> None:
        self._library = _library()
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        if not self._context:
            raise OSError(f"{LIBRARY} has no memory")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, NETFILTER)
        namespace = os.stat(NAMESPACE).st_ino  # noqa: PTH116 - a magic link
        self._place = f"{BOOT_ID.read_text().strip()} {namespace}"

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()
        self._library.nft_ctx_free(self._context)

    def __call__(self, *argv: str, stdin: str | None = None, timeout_s: float = 0) -> str:
        """Run a program as `lessor.agent.host.run.run` does; nft without starting one.

        Raises:
            CommandError: it can't be done; the message has nft's own words.
        """
        match argv:
            case ("nft", "-f", "-"):
                return self._run(argv, stdin or "", 0)
            case ("nft", "-j", "list", *what):
                return self._run(argv, " ".join(("list", *what)), JSON)
        return run(*argv, stdin=stdin, timeout_s=timeout_s)

    def generation(self) -> str:
        """Return how often this host's nftables were changed, with boot and namespace.

        Two that are equal say that nothing was changed in between. "" if the kernel doesn't tell.
        """
        message = _HEAD.pack(_HEAD.size + _FAMILY.size, GET_GENERATION, _REQUEST, 0, 0)
        try:
            self._socket.send(message + _FAMILY.pack(0, 0, 0))
            count = _count(self._socket.recv(1 << 12))
        except (OSError, struct.error):
            return ""
        return f"{self._place} {count}"

    def _run(self, argv: tuple[str, ...], commands: str, flags: int) -> str:
        library, context = self._library, self._context
        library.nft_ctx_output_set_flags(context, flags)
        status = library.nft_run_cmd_from_buffer(context, commands.encode())
        # both are emptied by asking for them
        output: bytes = library.nft_ctx_get_output_buffer(context)
        words: bytes = library.nft_ctx_get_error_buffer(context)
        if status:
            raise CommandError(f"{' '.join(argv)}: {words.decode(errors='replace').strip()}")
        return output.decode()


def next_generation(generation: str) -> str:
    """Return what follows after one more change."""
    place, _, count = generation.rpartition(" ")
    return f"{place} {int(count) + 1}" if place else ""


def _count(answer: bytes) -> int:
    at = _HEAD.size + _FAMILY.size
    length, kind = _ATTRIBUTE.unpack_from(answer, at)
    if (length, kind) != (_ATTRIBUTE.size + _COUNT.size, 1):
        raise struct.error("not a generation")
    count: int = _COUNT.unpack_from(answer, at + _ATTRIBUTE.size)[0]
    return count


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(LIBRARY)
    context = ctypes.c_void_p
    library.nft_ctx_new.restype = context
    library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    library.nft_ctx_free.restype = None
    library.nft_ctx_free.argtypes = (context,)
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = (context,)
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = (context,)
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_ctx_output_set_flags.argtypes = (context, ctypes.c_uint)
    library.nft_run_cmd_from_buffer.argtypes = (context, ctypes.c_char_p)
    return library
