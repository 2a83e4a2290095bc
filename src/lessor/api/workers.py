"""`lessor server --workers N`: processes that share the listening sockets, and who watches them.

Each worker is a whole server with a store of its own; they agree through PostgreSQL, as servers on
several machines do. The first process only starts them, again where one died, and ends them.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from lessor import systemd
from lessor.errors import ConfigError, LessorError, Unavailable
from lessor.settings import ServerSettings

AGAIN_S = 1.0  # before a worker that died is started anew
REFUSED, WRONG_USAGE = 1, 2

Work = Callable[[Callable[[], None], int], None]
log = structlog.get_logger("lessor.server")


def check(settings: ServerSettings) -> None:
    """Refuse several workers on SQLite.

    Raises:
        ConfigError: that is asked for.
    """
    if settings.workers > 1 and not settings.connection.startswith("postgresql"):
        raise ConfigError(
            f"workers={settings.workers}: SQLite has one writer, and only its own process hears what "
            "it wrote, so on SQLite there is one; give [database] connection a PostgreSQL database, "
            "or leave out --workers"
        )


def supervise(count: int, work: Work) -> None:
    """Run `count` workers until SIGTERM or SIGINT.

    Args:
        count: how many.
        work: what each does, with what it calls when it is ready, and a descriptor that is at its
            end when the first process is gone: then it has to end too.

    Raises:
        Unavailable: one ended before it was ready.
    """
    _Supervisor(work).run(count)


@dataclass(frozen=True, slots=True)
class _Worker:
    pid: int
    ready: int


class _Supervisor:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._workers: dict[int, _Worker] = {}
        self._stopping = False
        self._life, self._alive = os.pipe()  # nobody writes; our end closes with us

    def run(self, count: int) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        started = [self._start() for _ in range(count)]
        failed = [worker for worker in started if os.read(worker.ready, 1) != b"1"]
        if failed and not self._stopping:
            self._stop()
        elif not self._stopping:
            log.info("workers ready", count=count)
            systemd.say_ready()
        self._watch()
        if failed:
            raise Unavailable(f"{len(failed)} of {count} workers ended before they were ready")

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for pid in self._workers:
            os.kill(pid, signal.SIGTERM)

    def _watch(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, 0)
            worker = self._workers.pop(pid, None)
            if worker is None:
                continue
            os.close(worker.ready)
            if not self._stopping:
                code = os.waitstatus_to_exitcode(status)
                log.error("worker died", pid=pid, status=code, retry_s=AGAIN_S)
                time.sleep(AGAIN_S)
            if not self._stopping:
                self._start()

    def _start(self) -> _Worker:
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(self._alive)
            os._exit(self._run_worker(tell))
        os.close(tell)
        worker = self._workers[pid] = _Worker(pid, ready)
        if self._stopping:  # the signal came while we forked
            os.kill(pid, signal.SIGTERM)
        return worker

    def _run_worker(self, tell: int) -> int:
        """Do a worker's work in its own process; return its exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        try:
            self._work(lambda: (os.write(tell, b"1"), None)[1], self._life)
        except LessorError as error:
            log.error("worker refused", error=str(error))  # noqa: TRY400 - a sentence, not a trace
            return WRONG_USAGE if isinstance(error, ConfigError) else REFUSED
        except BaseException:  # noqa: BLE001 - a process ends here, whatever it was
            traceback.print_exc()
            return REFUSED
        return 0
