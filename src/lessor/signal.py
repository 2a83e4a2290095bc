"""Tells subscribers of an event. A signal belongs to its emitter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Signal(Generic[P]):
    """One kind of event. Subscribe before the emitter runs; it needs no subscriber."""

    def __init__(self) -> None:
        self._listeners: list[Callable[P, object]] = []

    def subscribe(self, listener: Callable[P, object]) -> None:
        """Have `listener` called at each emission, after those that subscribed before."""
        self._listeners.append(listener)

    def emit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call all listeners in the emitter's thread; an error of one ends the emission."""
        for listener in self._listeners:
            listener(*args, **kwargs)
