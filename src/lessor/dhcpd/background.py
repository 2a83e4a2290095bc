"""A thread for what may take long: it waits for the disk, and for the kernel to close sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Background:
    """Runs steps one after the other, in the thread that `start` starts."""

    def __init__(self) -> None:
        self._steps: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def start(self) -> None:
        """Start the thread; it ends with the process."""
        threading.Thread(target=self._run, name="background", daemon=True).start()

    def submit(self, step: Callable[[], object]) -> None:
        """Run a step, which raises nothing, when those before it are done."""
        self._steps.put(step)

    def _run(self) -> None:
        while True:
            self._steps.get()()
