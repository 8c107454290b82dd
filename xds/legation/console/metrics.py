"""What Prometheus is told. No label names a proxy or a stream: ten thousand proxies are as many series as ten."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from time import monotonic, time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from legation.problems import Problem, Severity
from legation.status import ProxyStatus

STALLED = 30.0
"""Seconds after which a client that has not answered is taken as stuck."""

_FROM_MILLISECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class _Type:
    """The series of one type that move with every exchange: to look one up costs more than to count."""

    pushes: Any
    send_bytes: Any
    acks: Any
    ack_latency: Any


@dataclass(frozen=True, slots=True)
class Metrics:
    """Every metric of the product, on one registry (`Metrics.on`). Durations are seconds, types short names (`cds`)."""

    registry: CollectorRegistry
    streams: Gauge
    first_request_wait: Histogram
    reconnects: Counter
    turned_away: Counter
    refusals: Counter
    pushes: Counter
    send_bytes: Counter
    acks: Counter
    nacks: Counter
    ack_latency: Histogram
    stale_nonces: Counter
    convergence: Histogram
    delivery: Histogram
    render: Histogram
    revisions: Counter
    revised_at: Gauge
    documents: Gauge
    held: Gauge
    callers: Gauge
    problems: Gauge
    event_loop_lag: Histogram
    by_type: dict[str, _Type] = field(default_factory=dict)

    @classmethod
    def on(cls, registry: CollectorRegistry) -> Metrics:
        """Creates them all on this registry, and the process's own. Raises ValueError if they are there already."""
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace="legation", registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace="legation", registry=registry)

        def seconds(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(
                f"{name}_seconds", text, labels, namespace="legation", registry=registry, buckets=_FROM_MILLISECONDS
            )

        made = cls(
            registry=registry,
            streams=gauge("streams", "Open xDS streams.", "variant", "client"),
            first_request_wait=seconds("first_request_wait", "From a stream's first request to its first response."),
            reconnects=counter("reconnects", "Streams of clients that had been here before."),
            turned_away=counter("turned_away", "Streams that were told to come again, since too many came at once."),
            refusals=counter(
                "refusals", "Calls and streams that were refused for want of an identity or a right.", "why"
            ),
            pushes=counter("pushes", "Responses sent.", "type"),
            send_bytes=counter("send_bytes", "Bytes of responses sent.", "type"),
            acks=counter("acks", "Responses that a client took.", "type"),
            nacks=counter("nacks", "Responses that a client refused.", "type"),
            ack_latency=seconds("ack_latency", "From a response to the client's answer.", "type"),
            stale_nonces=counter("stale_nonces", "Requests that answered a response which was not the last.", "type"),
            convergence=seconds("convergence", "From a file's event to the last client that took what came of it."),
            delivery=seconds("delivery", "From a file's event to one client's having taken what came of it."),
            render=seconds("render", "To render one scope's resources."),
            revisions=counter("revisions", "Changes of the accepted configuration."),
            revised_at=gauge("revision_timestamp_seconds", "When the revision in service came to be (epoch)."),
            documents=gauge("documents", "Documents in service."),
            held=gauge("held", "Documents whose last accepted version is served instead of what their file says."),
            callers=gauge("callers", "Callers of the admin API that watch or wait."),
            problems=gauge("problems", "Findings in the files, now.", "severity"),
            event_loop_lag=seconds("event_loop_lag", "How late the event loop runs what was due."),
        )
        for severity in Severity:
            made.problems.labels(str(severity)).set(0)
        gauge("build_info", "The version that runs; always 1.", "version").labels(version("legation")).set(1)
        return made

    def _of(self, short_type: str) -> _Type:
        found = self.by_type.get(short_type)
        if found is None:
            found = self.by_type[short_type] = _Type(
                *(metric.labels(short_type) for metric in (self.pushes, self.send_bytes, self.acks, self.ack_latency))
            )
        return found

    def stream_opened(self, variant: str, client: str) -> None:
        """A stream of a variant (`delta`, `sotw`) from a kind of client (`envoy`, `grpc`)."""
        self.streams.labels(variant, client).inc()

    def stream_closed(self, variant: str, client: str) -> None:
        """The counterpart of `stream_opened`, with the same words."""
        self.streams.labels(variant, client).dec()

    def first_answered(self, wait: float) -> None:
        """A stream had its first response `wait` seconds after its first request."""
        self.first_request_wait.observe(wait)

    def refused(self, why: str) -> None:
        """A client was refused: `unauthenticated`, `denied`, or its identity `expired`."""
        self.refusals.labels(why).inc()

    def pushed(self, short_type: str, size: int) -> None:
        """A response of `size` bytes was sent."""
        of = self._of(short_type)
        of.pushes.inc()
        of.send_bytes.inc(size)

    def acked(self, short_type: str, latency: float) -> None:
        """A client took a response `latency` seconds after it was sent."""
        of = self._of(short_type)
        of.acks.inc()
        of.ack_latency.observe(latency)

    def nacked(self, short_type: str, latency: float) -> None:
        """A client refused a response `latency` seconds after it was sent."""
        self.nacks.labels(short_type).inc()
        self.ack_latency.labels(short_type).observe(latency)

    def stale(self, short_type: str) -> None:
        """A request carried a nonce that is not the last one."""
        self.stale_nonces.labels(short_type).inc()

    def converged(self, duration: float) -> None:
        """What a file's event changed is in force everywhere, `duration` seconds after the event."""
        self.convergence.observe(duration)

    def delivered(self, duration: float) -> None:
        """One client has taken what a file's event changed for it, `duration` seconds after the event."""
        self.delivery.observe(duration)

    def rendered(self, duration: float) -> None:
        """One scope was rendered."""
        self.render.observe(duration)

    def came_back(self) -> None:
        """A client is here again, with what it was served before."""
        self.reconnects.inc()

    def revised(self) -> None:
        """The accepted configuration is another one."""
        self.revisions.inc()
        self.revised_at.set_to_current_time()

    def reported(self, documents: int, held: int, problems: Iterable[Problem]) -> None:
        """How the files stand now."""
        self.documents.set(documents)
        self.held.set(held)
        found = Tally(problem.severity for problem in problems)
        for severity in Severity:
            self.problems.labels(str(severity)).set(found[severity])

    def lagged(self, lag: float) -> None:
        """The event loop ran something `lag` seconds after it was due."""
        self.event_loop_lag.observe(lag)

    def follow(self, proxies: Callable[[], Iterable[ProxyStatus]]) -> None:
        """Counts the fleet anew at each scrape: who is behind, who refuses, how many versions are in use, by type."""
        self.registry.register(_Fleet(proxies))

    def watch_certificates(self, first_expiry: Callable[[], float | None]) -> None:
        """Tells at each scrape how long the first certificate to expire still holds; `first_expiry` is since the epoch."""
        self.registry.register(_Certificates(first_expiry))


class _Certificates(Collector):
    def __init__(self, first_expiry: Callable[[], float | None]) -> None:
        self._first_expiry = first_expiry

    def describe(self) -> Iterator[Metric]:
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        family, at = self._family(), self._first_expiry()
        if at is not None:
            family.add_metric((), at - time())
            yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        text = "Seconds until the first of all certificates expires; below 0 it has."
        return GaugeMetricFamily("legation_certificate_expiry_seconds", text, labels=())


class _Fleet(Collector):
    def __init__(self, proxies: Callable[[], Iterable[ProxyStatus]]) -> None:
        self._proxies = proxies

    def describe(self) -> Iterator[Metric]:
        """Names only: registering must not ask for proxies before there are any."""
        yield from self._families(())

    def collect(self) -> Iterator[Metric]:
        yield from self._families(self._proxies())

    def _families(self, proxies: Iterable[ProxyStatus]) -> Iterator[Metric]:
        behind: Tally[str] = Tally()
        now, oldest, stalled = monotonic(), 0.0, 0
        refusing: Tally[str] = Tally()
        versions: dict[str, set[str]] = {}
        for proxy in proxies:
            age = max((now - of.since for of in proxy.types.values() if of.since is not None), default=0.0)
            oldest = max(oldest, age)
            stalled += age > STALLED
            for short_type, status in proxy.types.items():
                behind[short_type] += not status.synced
                refusing[short_type] += bool(status.error)
                if status.acked:
                    versions.setdefault(short_type, set()).add(status.acked)
        for name, text, counts in (
            ("clients_behind", "Clients that have not taken all that they were sent.", behind),
            ("clients_refusing", "Clients whose last answer was a refusal.", refusing),
            ("versions_in_fleet", "Different versions that clients hold.", {t: len(v) for t, v in versions.items()}),
        ):
            family = GaugeMetricFamily(f"legation_{name}", text, labels=("type",))
            for short_type, count in sorted(counts.items()):
                family.add_metric((short_type,), count)
            yield family
        text = "The age of the oldest response that is not answered."
        yield GaugeMetricFamily("legation_oldest_unanswered_seconds", text, value=oldest)
        text = f"Clients that have owed an answer for more than {STALLED:g} seconds."
        yield GaugeMetricFamily("legation_clients_stalled", text, value=stalled)
