"""`lessor server`: the store, both listeners and the housekeeping, in one process."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from ipaddress import ip_address

import structlog
import uvicorn
import uvloop
from litestar.types import ASGIApp

from lessor import systemd
from lessor.api import memory, workers
from lessor.api.agent_app import agents_app
from lessor.api.app import users_app
from lessor.api.notifier import Notifier
from lessor.api.novanotifier import NovaNotifier
from lessor.api.protocol import BoundedProtocol, Limits
from lessor.errors import ConfigError
from lessor.settings import ServerSettings, Tls
from lessor.store.hosts import failover
from lessor.store.store import Store

HOUSEKEEPING_S = 10.0
WATCH_S = 1.0  # between looks for dead DHCP hosts
KEEP_ALIVE_S = 75  # longer than clients keep an idle connection, so they close it, not we
SHUTDOWN_S = 5
THREADS = 32  # calls of the store at once; they mostly wait for a shared commit
BACKLOG = 2048

log = structlog.get_logger("lessor.server")


def serve(settings: ServerSettings) -> None:
    """Run the server until SIGTERM or SIGINT.

    Raises:
        ConfigError: an address can't be listened on, or may not be (`check_listen`).
    """
    check_listen(settings)
    warn_of_clear_text(settings)
    _allow_connections()
    workers.check(settings)
    sockets = [_bound(settings.listen), _bound(settings.agent_listen)]
    try:
        if settings.workers == 1:
            _work(settings, sockets, systemd.say_ready)
        else:
            workers.supervise(settings.workers, partial(_work, settings, sockets))
    finally:
        for bound in sockets:
            bound.close()


def _allow_connections() -> None:
    """Take all the open files that we may have: each agent waits on a connection of its own.

    A process is given 1,024 and may have many more (setrlimit(2); systemd says 524,288).
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _work(
    settings: ServerSettings,
    sockets: Sequence[socket.socket],
    ready: Callable[[], None],
    life: int | None = None,
) -> None:
    """Serve in this process; `life` is a descriptor at whose end it has to stop."""
    memory.keep_little()
    store = Store.open(settings)
    try:
        uvloop.run(_until_signal(store, settings, sockets, ready, life))
    finally:
        store.close()


def check_listen(settings: ServerSettings) -> None:
    """Keep an API that asks nobody who they are to this machine.

    Raises:
        ConfigError: `listen` is reachable from elsewhere and `insecure_listen` does not allow it.
    """
    host, port = settings.listen
    if settings.auth_strategy != "noauth" or _is_loopback(host):
        return
    if not settings.insecure_listen:
        raise ConfigError(
            f"listen={host}:{port}: with auth_strategy=noauth the API listens on this machine only "
            "(127.0.0.1); --insecure-listen allows other addresses"
        )
    log.warning("anybody who reaches this address controls the networks", listen=f"{host}:{port}")


def warn_of_clear_text(settings: ServerSettings) -> None:
    """Say which listeners take credentials without TLS from other machines."""
    listeners = (
        ("listen", settings.listen, settings.tls, settings.auth_strategy != "noauth"),
        ("agent_listen", settings.agent_listen, settings.agent_tls, True),
    )
    for option, (host, port), tls, has_credentials in listeners:
        if tls is None and has_credentials and not _is_loopback(host):
            log.warning(
                "credentials cross the network in clear text",
                listener=f"{option}={host}:{port}",
                remedy="set cert_file and key_file, or put a TLS proxy before it",
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _bound(address: tuple[str, int]) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise ConfigError(f"can't listen on {host}:{port}: {error.strerror}") from error
    return bound


async def _until_signal(
    store: Store,
    settings: ServerSettings,
    sockets: Sequence[socket.socket],
    ready: Callable[[], None],
    life: int | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if life is not None:
        loop.add_reader(life, stop.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def there() -> None:
        memory.settle()
        ready()

    await run(store, settings, sockets, stop, there)


async def run(
    store: Store,
    settings: ServerSettings,
    sockets: Sequence[socket.socket],
    stop: asyncio.Event,
    ready: Callable[[], None] = systemd.say_ready,
) -> None:
    """Serve both listeners, whose sockets are bound already, until `stop` is set."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="call"))
    notifier = Notifier(loop)
    store.subscribe(notifier.tell)
    users, agents = sockets
    limit = settings.max_connections_per_address
    listeners = [
        (_listener(users_app(store, settings), settings.tls, limit), users),
        (_listener(agents_app(store, notifier), settings.agent_tls, limit), agents),
    ]
    with _telling_nova(store, settings):
        async with asyncio.TaskGroup() as tasks:
            for listener, bound in listeners:
                tasks.create_task(listener.serve(sockets=[bound]))
            keepers = [
                tasks.create_task(_every(HOUSEKEEPING_S, "housekeeping", store.housekeep)),
                tasks.create_task(
                    _every(WATCH_S, "watch of hosts", partial(failover.watch, store))
                ),
            ]
            log.info("listening", api=_shown(users), agents=_shown(agents))
            ready()
            await stop.wait()
            log.info("stopping")
            for keeper in keepers:
                keeper.cancel()
            notifier.close()
            for listener, _ in listeners:
                listener.should_exit = True


def _telling_nova(store: Store, settings: ServerSettings) -> AbstractContextManager[object]:
    if settings.nova is None:
        return nullcontext()
    return NovaNotifier(store, settings.nova, time.time)


def _shown(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"{host}:{port}"


class _Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to the process: there are two of them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listener(app: ASGIApp, tls: Tls | None, per_address: int) -> _Listener:
    config = uvicorn.Config(
        app,
        http=partial(BoundedProtocol, Limits(per_address=per_address)),  # type: ignore[arg-type]  # makes one
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        ssl_certfile=tls.cert_file if tls else None,
        ssl_keyfile=tls.key_file if tls else None,
        ssl_ca_certs=str(tls.ca_file) if tls and tls.ca_file else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.ca_file else ssl.CERT_NONE,
    )
    try:
        config.load()
    except (OSError, ValueError) as error:  # ssl's errors are OSErrors
        raise ConfigError(f"[ssl] the certificate or its key can't be used: {error}") from error
    return _Listener(config)


async def _every(seconds: float, what: str, call: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(call)
        except Exception as error:  # noqa: BLE001 - it is tried again; the server goes on
            log.warning("failed", what=what, retry_s=seconds, error=str(error))
