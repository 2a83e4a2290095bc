"""/metrics: what Prometheus is told. One registry a server, nothing global."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from lessor.store import rowcounts
from lessor.store.store import Store

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counts requests by route, method and status, and tells how the store and hosts are."""

    def __init__(self, store: Store) -> None:
        self._registry = CollectorRegistry()
        names = ("route", "method", "status")
        self._requests = Counter(
            "lessor_http_requests", "Requests answered", names, registry=self._registry
        )
        self._seconds = Histogram(
            "lessor_http_request_seconds",
            "Time from a request to its answer",
            ("route", "method"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_StoreGauges(store))

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text form."""
        return generate_latest(self._registry)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return the app with its requests counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP:
                await app(scope, receive, send)
                return
            status = "500"

            async def seen(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                await send(message)

            start = perf_counter()
            try:
                await app(scope, receive, seen)
            finally:
                route = scope.get("path_template") or "unknown"
                self._requests.labels(route, scope["method"], status).inc()
                self._seconds.labels(route, scope["method"]).observe(perf_counter() - start)

        return counted


class _StoreGauges(Collector):
    """Asked for at each scrape; what the store has is counted then, not kept."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name nothing beforehand: registering must not ask the store."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges."""
        there = self._store.read(rowcounts.read)
        yield _gauge("lessor_hosts", "Hosts known", there.hosts)
        yield _gauge("lessor_hosts_alive", "Hosts alive", there.hosts_alive)
        yield _gauge("lessor_hosts_in_sync", "Hosts in sync", there.hosts_in_sync)
        yield _gauge("lessor_networks", "Networks", there.networks)
        yield _gauge("lessor_ports", "Ports", there.ports)
        yield _gauge("lessor_leases_live", "Leases alive", there.leases_live)
        yield _gauge("lessor_nova_events", "Events the compute API is to take", there.nova_events)


def _gauge(name: str, doc: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, doc, value=value)
