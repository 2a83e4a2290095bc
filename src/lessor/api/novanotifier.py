"""Tells a compute API what becomes of its VMs' ports: POST /os-server-external-events.

What to tell stands in the store (`store.ports.compute_events`), and stays there until the compute
API has taken it: nobody who changes a port waits for that, and no restart forgets it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import structlog

from lessor.errors import Unavailable
from lessor.settings import NovaSettings
from lessor.store.ports import compute_events
from lessor.store.ports.compute_events import PLUGGED, NovaEvent
from lessor.store.store import Store

if TYPE_CHECKING:  # keystoneauth1 is imported where it is used: it takes 0.3 s and some memory
    from keystoneauth1.adapter import Adapter

LOOK_S = 0.2  # between looks for something to tell
LEAST_RETRY_S, MOST_RETRY_S = 1.0, 30.0
MOST_AGE_S = 3600.0  # the compute service has long ceased to wait for what is older
STOP_S = 1.0  # how long the server's end waits for a request under way
PASSING = {401, 403, 408, 429}  # refusals that an operator, or time, takes away
MICROVERSION = "2.1"  # these events need no newer one
ADMIN_NEEDED = (
    "{user} of [nova] lacks the role admin, or [nova] is another cloud: Nova only searches the "
    "user's own project for the VM unless the user is an administrator (openstack role add "
    "--user USER --project PROJECT admin, then restart lessor server: tokens are cached)"
)

log = structlog.get_logger("lessor.nova")


def adapter(settings: NovaSettings) -> Adapter:
    """Return what speaks to the compute API."""
    from keystoneauth1 import adapter as adapters  # noqa: PLC0415 - see above
    from keystoneauth1 import loading, session  # noqa: PLC0415 - see above

    names = {option.dest for option in loading.get_plugin_loader(settings.auth_type).get_options()}
    known: dict[str, Any] = {"endpoint": settings.endpoint_override}
    known |= {name: getattr(settings, name) for name in names if hasattr(settings, name)}
    values = {name: value for name, value in known.items() if name in names and value}
    auth: Any = loading.get_plugin_loader(settings.auth_type).load_from_options(**values)
    cert = (settings.certfile, settings.keyfile) if settings.keyfile else settings.certfile
    return adapters.Adapter(
        session.Session(
            auth=auth,
            verify=False if settings.insecure else settings.cafile or True,
            cert=cert or None,
            timeout=settings.timeout,
        ),
        service_type="compute",
        interface=settings.endpoint_type,
        region_name=settings.region_name or None,
        endpoint_override=settings.endpoint_override or None,
    )


def body(events: Sequence[NovaEvent]) -> dict[str, Any]:
    """Return the request's body."""
    return {
        "events": [
            {
                "server_uuid": event.server_uuid,
                "name": event.name,
                "status": "completed",
                "tag": event.port_id,
            }
            for event in events
        ]
    }


class NovaNotifier:
    """Sends what waits, in order, in batches; what isn't taken is sent again, ever more seldom.

    It has a thread of its own, which the server's end doesn't wait for long: a request that hangs
    can't be called off.
    """

    def __init__(
        self,
        store: Store,
        settings: NovaSettings,
        clock: Callable[[], float],
        compute: Adapter | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._compute = compute
        self._retry_s = LEAST_RETRY_S
        self._has_warned = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lessor-nova", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(STOP_S)

    def _work(self) -> None:
        while not self._stopping.wait(self.look()):
            pass  # other servers write, too: there is nobody who would wake us

    def look(self) -> float:
        """Send what waits; return after how many seconds to look again."""
        try:
            while not self._stopping.is_set() and (events := compute_events.due(self._store)):
                self._tell(events)
                self._retry_s = LEAST_RETRY_S
        except Exception as error:  # noqa: BLE001 - it is tried again; the server goes on
            pause, self._retry_s = self._retry_s, min(2 * self._retry_s, MOST_RETRY_S)
            if not self._stopping.is_set():
                log.warning("compute API not told", retry_s=pause, error=str(error))
            return pause
        return LOOK_S

    def _tell(self, events: Sequence[NovaEvent]) -> None:
        fresh = [event for event in events if self._clock() - event.made_at < MOST_AGE_S]
        if late := len(events) - len(fresh):
            log.error("compute API was not told in time", events=late, most_age_s=MOST_AGE_S)
        if fresh:
            self._send(fresh)
        self._store.write(compute_events.drop, [event.id for event in events])

    def _send(self, events: Sequence[NovaEvent]) -> None:
        """Send events; return when it needn't be done again.

        Raises:
            Unavailable: the compute API can't take them now.
        """
        if self._compute is None:
            self._compute = adapter(self._settings)
        answer = self._compute.post(
            "/os-server-external-events",
            json=body(events),
            microversion=MICROVERSION,
            raise_exc=False,
        )
        status = answer.status_code
        if status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unavailable(f"the compute API answered {status} to {len(events)} events")
        # 404: none of these VMs exists (any more); what else it refuses, it would refuse again
        for event, code in zip(events, _codes(answer, len(events)), strict=True):
            say = log.info if code == HTTPStatus.OK else log.warning
            word = "compute API told" if code == HTTPStatus.OK else "compute API took an event not"
            say(word, name=event.name, port=event.port_id, vm=event.server_uuid, code=code)
            if code == HTTPStatus.NOT_FOUND and event.name == PLUGGED:
                self._warn()

    def _warn(self) -> None:
        """Say once why Nova may not find a VM that it has just plugged, and waits for."""
        if self._settings.auth_url and not self._has_warned:
            self._has_warned = True
            user = self._settings.username or "the application credential"
            log.warning(
                "compute API finds no VM that is being started",
                likely=ADMIN_NEEDED.format(user=user),
            )


def _codes(answer: Any, count: int) -> list[int]:
    """Return what was said of each event: in the answer's body if some were taken, else once."""
    if not answer.ok:
        return [answer.status_code] * count
    try:
        codes = [int(event["code"]) for event in answer.json()["events"]]
    except (ValueError, TypeError, KeyError):
        codes = []
    return codes if len(codes) == count else [HTTPStatus.OK.value] * count
