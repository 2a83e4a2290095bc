"""Formats times for an operator: ages, and when a problem began."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from lessor.layout import Row

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


def age(seconds: float) -> str:
    """Format a duration in its two largest units: 47 s, 12 min, 3 h 5 min, 2 d 1 h."""
    whole = max(0, int(seconds))
    if whole < 2 * MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def seconds_of(stamp: str) -> float:
    """Return a time of the API as seconds since 1970."""
    return datetime.fromisoformat(stamp).timestamp()


def clock(stamp: str, now: float) -> str:
    """Format a time of the API: 15:52:41Z today, with the date on other days."""
    when, today = datetime.fromisoformat(stamp).astimezone(UTC), datetime.fromtimestamp(now, UTC)
    return when.strftime("%H:%M:%SZ" if when.date() == today.date() else "%Y-%m-%d %H:%M:%SZ")


def server_now(host: Row) -> float:
    """Return the server's time of a host's row: ages are independent of the local clock."""
    if host["heartbeat_at"] is None or host["silent_s"] is None:
        return time.time()
    return seconds_of(host["heartbeat_at"]) + float(host["silent_s"])


def problem_line(host: Row, problem: Row) -> str:
    """Format a problem with its start and the age of the last observation.

    A problem of a host that is not up is marked as old.
    """
    now = server_now(host)
    since = f"since {clock(problem['since'], now)}"
    if host["state"] != "up":
        return f"{problem['text']} ({since}, reported before it went silent)"
    return f"{problem['text']} ({since}, seen {age(now - seconds_of(problem['seen']))} ago)"
