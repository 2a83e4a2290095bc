"""Place options into a message of limited size, in its header's fields too (option 52)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lessor.core.dhcp.codes import FILE, OVERLOAD, SNAME
from lessor.core.dhcp.message import END, NO_FILE, NO_SNAME, option

_ENDED = bytes((END,))


class Placed(NamedTuple):
    """The fields of a message, and whether some options had no room."""

    options: bytes  # with END
    file: bytes
    sname: bytes
    left_out: bool = False


def place(units: Sequence[bytes], tail: bytes, room: int, header: Placed) -> Placed:
    """Return the fields that have as many of the options as there is room for.

    A field of the header is used for options if it is empty, or if what it has is an option as
    well (RFC 2132, 9.4 and 9.5).

    Args:
        units: options as they are sent, the most important first.
        tail: octets that end the options field: what is echoed, and END.
        room: octets of the options field.
        header: the fields as they are; its options come first.

    Source: RFC 2131, 4.1; RFC 2132, 9.3.
    """
    if len(header.options) + sum(map(len, units)) + len(tail) <= room:
        return header._replace(options=header.options + b"".join(units) + tail)
    codes = {unit[0] for unit in units}
    rooms = [room - len(header.options) - len(tail) - 3]  # option 52
    rooms.append(len(NO_FILE) - 1 if header.file == NO_FILE or FILE in codes else 0)
    rooms.append(len(NO_SNAME) - 1 if header.sname == NO_SNAME or SNAME in codes else 0)
    (field, file, sname), left_out = _fill(units, rooms)
    used = bool(file) + 2 * bool(sname)
    overload = option(OVERLOAD, bytes((used,))) if used else b""
    return Placed(
        options=header.options + field + overload + tail,
        file=(file + _ENDED).ljust(len(NO_FILE), b"\0") if file else header.file,
        sname=(sname + _ENDED).ljust(len(NO_SNAME), b"\0") if sname else header.sname,
        left_out=left_out,
    )


def cut(units: Sequence[bytes], room: int) -> bytes:
    """Return those options that the room is enough for, and END."""
    (field,), _ = _fill(units, [room - 1])
    return field + _ENDED


def _fill(units: Sequence[bytes], rooms: Sequence[int]) -> tuple[list[bytes], bool]:
    """Put each option into the first place with room for it; tell whether some had none."""
    fields = [b""] * len(rooms)
    left_out = False
    for unit in units:
        at = next((i for i, room in enumerate(rooms) if len(fields[i] + unit) <= room), None)
        if at is None:
            left_out = True
        else:
            fields[at] += unit
    return fields, left_out
