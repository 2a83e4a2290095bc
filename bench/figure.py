"""Result of a measurement: a figure, its peer for comparison, and its expected limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Peer:
    """A figure for comparison, in the same unit."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Limit:
    """The expected limit of the figure, or of its ratio to the peer's."""

    value: float
    least: bool = False  # False: at most
    of_ratio: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    `n` is the number of single events behind it; `low` and `high` are the extremes of its repeats,
    where it is the median of some. `load` is the machine's mean number of running and waiting
    threads in the minute before it was done (getloadavg(3)).
    """

    what: str
    value: float
    unit: str
    n: int
    low: float | None = None
    high: float | None = None
    peer: Peer | None = None
    expected: Limit | None = None
    load: float | None = None

    @property
    def ratio(self) -> float | None:
        """The figure divided by the peer's."""
        return self.value / self.peer.value if self.peer else None

    @property
    def met(self) -> bool | None:
        """Whether the figure is within its limit; None: it has none."""
        if self.expected is None:
            return None
        judged = self.ratio if self.expected.of_ratio else self.value
        assert judged is not None
        return (
            judged >= self.expected.value if self.expected.least else judged <= self.expected.value
        )


Measure = Callable[[bool], Iterator[Figure]]  # is told whether it has to be quick


def of_repeats(
    what: str,
    values: Sequence[float],
    unit: str,
    n: int,
    *,
    peer: Peer | None = None,
    expected: Limit | None = None,
) -> Figure:
    """Return the median of repeats, with their extremes. `n` counts the events of all of them."""
    return Figure(
        what=what,
        value=median(values),
        unit=unit,
        n=n,
        low=min(values),
        high=max(values),
        peer=peer,
        expected=expected,
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def p50_p99(
    what: str,
    seconds: Sequence[float],
    *,
    expected_p50: Limit | None = None,
    expected_p99: Limit | None = None,
    peer_p50: Peer | None = None,
) -> Iterator[Figure]:
    """Yield the median and the 99th percentile of durations, in milliseconds."""
    shares = (("p50", 0.5, expected_p50, peer_p50), ("p99", 0.99, expected_p99, None))
    for name, share, expected, peer in shares:
        yield Figure(
            what=f"{what}, {name}",
            value=quantile(seconds, share) * 1000,
            unit="ms",
            n=len(seconds),
            peer=peer,
            expected=expected,
        )
