"""A row as bytes: what passes from the agent to the responder, and lies on its disk.

address, server, siaddr, first, last   4 octets each
lease time                             4
MTU                                    2
sname, file: whether they follow       1 each
length of `block`                      2
[sname 64] [file 128] block asked
"""

from __future__ import annotations

import struct
from collections.abc import MutableMapping

from lessor.core.dhcp.message import NO_FILE, NO_SNAME
from lessor.core.dhcp.table import Row
from lessor.errors import Invalid

LAYOUT = 1  # raise it with any change of a row's meaning or form: then rows are fed again
_HEAD = struct.Struct(">4s4s4s4s4sIH??H")


def pack(row: Row) -> bytes:
    """Return a row in its form."""
    sname = row.sname if row.sname != NO_SNAME else b""
    file = row.file if row.file != NO_FILE else b""
    head = _HEAD.pack(
        row.address,
        row.server,
        row.siaddr,
        row.first,
        row.last,
        row.lease_time,
        row.mtu,
        bool(sname),
        bool(file),
        len(row.block),
    )
    return b"".join((head, sname, file, row.block, row.asked))


def unpack(data: bytes, shared: MutableMapping[bytes, bytes]) -> Row:
    """Return the row in these bytes.

    Args:
        data: of `pack`.
        shared: what rows of a subnet have in common, so that it is in memory once.

    Raises:
        Invalid: they are too short.
    """
    try:
        head = _HEAD.unpack_from(data)
    except struct.error as error:
        raise Invalid(f"a row has {len(data)} bytes; the minimum is {_HEAD.size}") from error
    address, server, siaddr, first, last, lease_time, mtu, has_sname, has_file, length = head
    at = _HEAD.size
    sname_end = at + len(NO_SNAME) * has_sname
    file_end = sname_end + len(NO_FILE) * has_file
    end = file_end + length
    if end > len(data):
        raise Invalid(f"a row has {len(data)} bytes; it should have {end} at least")
    once = shared.setdefault
    return Row(
        address=address,
        server=once(server, server),
        siaddr=once(siaddr, siaddr),
        sname=once(sname := data[at:sname_end], sname) if has_sname else NO_SNAME,
        file=once(file := data[sname_end:file_end], file) if has_file else NO_FILE,
        block=data[file_end:end],
        asked=data[end:],
        lease_time=lease_time,
        mtu=mtu,
        first=once(first, first),
        last=once(last, last),
    )
