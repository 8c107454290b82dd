"""Every change of the files as a trace: decided, rendered, taken by each proxy. Sent by OTLP (JSON over HTTP).

Spans are made when all is over, from the times that were noted, so nothing of this is on a change's way. OpenTelemetry is
an extra (`legation[otel]`) and imported here only. Its protobuf exporters cannot be used: the package `opentelemetry.proto`
that xds-protos installs is in their way.
"""

from __future__ import annotations

from importlib.metadata import version
from threading import Thread
from time import monotonic_ns, time_ns
from typing import Any
from urllib.parse import urlsplit

from legation.status import Course

MOST = 100
"""Proxies that have a span of their own in one trace; the others are counted."""

LAST = 1.0
"""Seconds for the last traces when the server ends."""


class NoTraces(Exception):
    """Traces cannot be sent; the words say what to do."""


class Traces:
    """Sends what became of each change. `url` is the collector's, with or without `/v1/traces`.

    Raises NoTraces for a URL that is none, and where the extra is not installed.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise NoTraces(f"{url!r} is not an http(s) URL like http://127.0.0.1:4318")
        endpoint = url if parts.path.strip("/") else url.rstrip("/") + "/v1/traces"
        try:
            from opentelemetry import trace  # noqa: PLC0415
            from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ImportError as error:
            raise NoTraces(f"traces need an extra, `pip install 'legation[otel]'` ({error})") from None
        own = Resource.create({"service.name": "legation", "service.version": version("legation")})
        self._provider = TracerProvider(resource=own, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        self._tracer = self._provider.get_tracer("legation")
        self._within: Any = trace.set_span_in_context

    def note(self, course: Course) -> None:
        """One change, from its first event to its last answer."""
        ahead = time_ns() - monotonic_ns()

        def epoch(seconds: float) -> int:
            return int(seconds * 1e9) + ahead

        last = max((at for _, _, at in course.answers), default=course.published)
        whole = self._tracer.start_span(
            "change",
            start_time=epoch(course.at),
            attributes={
                "legation.revision": course.revision,
                "legation.proxies": len(course.answers) + course.unanswered,
                "legation.refusals": sum(not taken for _, taken, _ in course.answers),
                "legation.unanswered": course.unanswered,
            },
        )
        inside = self._within(whole)
        for name, begin, end in (
            ("decide", course.at, course.decided),
            ("render and send", course.decided, course.published),
        ):
            self._tracer.start_span(name, inside, start_time=epoch(begin)).end(epoch(end))
        for proxy, taken, at in course.answers[:MOST]:
            told: dict[str, str | bool] = {"legation.proxy": proxy, "legation.taken": taken}
            span = self._tracer.start_span("take", inside, start_time=epoch(course.published), attributes=told)
            span.end(epoch(max(at, course.published)))
        whole.end(epoch(last))

    def close(self) -> None:
        """Sends what is left, if the collector takes it soon; one that is not there is no reason to stay."""
        ending = Thread(target=self._provider.shutdown, name="legation-traces", daemon=True)
        ending.start()
        ending.join(LAST)
