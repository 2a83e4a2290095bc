"""Escapes control characters, so that a terminal shows them and does not execute them.

A tenant chooses the names of networks, ports and VMs. An unescaped sequence in a name would move
the cursor, set the window's title or hide lines of an administrator's list.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

# C0 without line feed and tab, DEL, C1 (ECMA-48), line separators, bidirectional controls and
# invisible characters (Unicode TR 36, bidirectional text spoofing; tags)
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
_LAID_OUT = re.compile("[\t\n]")


def printable(text: str) -> str:
    r"""Return text with each control character escaped: ESC becomes \x1b."""
    return _OBEYED.sub(_escape, text)


def printable_line(text: str) -> str:
    r"""Return text in one line and one column: line feeds and tabs are escaped, too."""
    return _LAID_OUT.sub(_escape, printable(text))


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def printable_fields(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Escape the strings of a log event; a structlog processor."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable(value)
    return event
