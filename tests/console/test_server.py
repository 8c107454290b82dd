"""The console over real sockets: what it says, to whom, and that asking changes nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import h11
import pytest
from legation.console.metrics import Metrics
from legation.console.page import SHOWN
from legation.console.server import Console
from legation.problems import Problem, Severity
from legation.status import ProxyStatus, TypeStatus
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

WRONG = Problem(
    Severity.ERROR, "LEG001", "unknown field 'wieght'", "configs/a.yaml", 12, 9, "VirtualService default/reviews",
    "spec.http[0].route[1].wieght", "did you mean 'weight'?",
)  # fmt: skip
EVIL = Problem(Severity.WARNING, "LEG002", "<script>alert(1)</script>", "<b>.yaml", 1, 1)

SYNCED = ProxyStatus(
    "router~10.0.0.1~edge.default~x", "gateway", "default", "delta", types={"cds": TypeStatus("v2", "v2")}
)
REFUSING = ProxyStatus(
    "sidecar~10.0.0.2~web.shop~x", "sidecar", "shop", "sotw", "10.0.0.2:4711", "1.40.0", since=1.5,
    types={
        "lds": TypeStatus("v3", "v1", "v3", "<i>no such filter</i>", refused={"l": "no"}),
        "cds": TypeStatus("v2", "v1", pending=1),
    },
)  # fmt: skip


@dataclass
class Now:
    """A View whose answers the test sets."""

    ready: bool = False
    revision: str = ""
    _proxies: list[ProxyStatus] = field(default_factory=list)
    _problems: list[Problem] = field(default_factory=list)
    _held: list[Problem] = field(default_factory=list)

    def proxies(self) -> list[ProxyStatus]:
        return self._proxies

    def problems(self) -> list[Problem]:
        return self._problems

    def held(self) -> list[Problem]:
        return self._held


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.on(CollectorRegistry())


@pytest.fixture
async def console(now: Now, metrics: Metrics) -> AsyncIterator[Console]:
    async with await Console.start(now, metrics.registry, names=("legation.example",)) as started:
        yield started


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.text)


async def ask(
    console: Console, path: str, method: str = "GET", host: str | None = None, at: str = "127.0.0.1", **headers: str
) -> Answer:
    reader, writer = await asyncio.open_connection(at, console.port)
    http = h11.Connection(h11.CLIENT)
    sent = {"host": f"localhost:{console.port}" if host is None else host, "connection": "close", **headers}
    writer.write(http.send(h11.Request(method=method, target=path, headers=list(sent.items()))) or b"")
    writer.write(http.send(h11.EndOfMessage()) or b"")
    response, body = None, b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(await asyncio.wait_for(reader.read(65536), 10))
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
    writer.close()
    assert response is not None
    return Answer(response.status_code, {k.decode(): v.decode() for k, v in response.headers}, body.decode())


async def test_it_is_alive_at_once_and_ready_after_the_first_load(console: Console, now: Now) -> None:
    assert (await ask(console, "/healthz")).status == 200
    assert (await ask(console, "/readyz")).status == 503
    now.ready = True
    assert (await ask(console, "/readyz")).status == 200
    assert (await ask(console, "/healthz")).status == 200


async def test_proxies_are_told_with_their_state_per_type(console: Console, now: Now) -> None:
    assert (await ask(console, "/debug/proxies")).json == []
    now._proxies = [REFUSING]
    assert (await ask(console, "/debug/proxies")).json == [
        {
            "id": "sidecar~10.0.0.2~web.shop~x",
            "role": "sidecar",
            "namespace": "shop",
            "variant": "sotw",
            "peer": "10.0.0.2:4711",
            "identity": "",
            "version": "1.40.0",
            "connected": True,
            "since": 1.5,
            "synced": False,
            "types": {
                "cds": {"sent": "v2", "acked": "v1", "nacked": "", "error": "", "refused": {}},
                "lds": {
                    "sent": "v3",
                    "acked": "v1",
                    "nacked": "v3",
                    "error": "<i>no such filter</i>",
                    "refused": {"l": "no"},
                },
            },
        }
    ]


async def test_problems_are_told_with_all_they_know(console: Console, now: Now) -> None:
    now.revision, now._problems, now._held = "r7", [WRONG, EVIL], [WRONG]
    assert (await ask(console, "/debug/problems")).json == {
        "revision": "r7",
        "held": [WRONG.as_json()],
        "problems": [WRONG.as_json(), EVIL.as_json()],
    }


class Page(HTMLParser):
    """What a reader sees, and every tag and address in the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self.addresses = "", set[str](), set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses |= {value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")}

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_page_shows_proxies_held_documents_and_problems(console: Console, now: Now) -> None:
    empty = Page((await ask(console, "/")).text)
    assert "loading" in empty.text
    assert "No proxy is connected" in empty.text
    assert "Nothing is wrong" in empty.text
    now.ready, now.revision, now._proxies = True, "r7", [SYNCED, REFUSING]
    now._problems, now._held = [EVIL, WRONG], [WRONG]
    answer = await ask(console, "/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    shown = Page(answer.text)
    for text in (
        "● ready", "revision r7", "1 of 2 in sync", SYNCED.id, REFUSING.id, "✓ cds", "… cds", "✗ lds",
        "configs/a.yaml:12:9", WRONG.message, WRONG.hint, WRONG.code,
    ):  # fmt: skip
        assert text in shown.text
    assert shown.text.index(REFUSING.id) < shown.text.index(SYNCED.id)  # what needs attention is on top
    assert shown.text.rindex(WRONG.message) < shown.text.index(EVIL.message)


async def test_the_page_escapes_what_others_say_and_loads_nothing(console: Console, now: Now) -> None:
    now._proxies, now._problems = [REFUSING], [EVIL]
    answer = await ask(console, "/")
    shown = Page(answer.text)
    assert EVIL.message in shown.text
    assert "<i>no such filter</i>" in shown.text
    assert not shown.tags & {"script", "i", "b", "img", "link", "iframe"}
    assert all(address.startswith("/") and not address.startswith("//") for address in shown.addresses)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")


async def test_a_large_fleet_is_cut_with_a_word(console: Console, now: Now) -> None:
    now._proxies = [SYNCED] * (SHOWN + 7)
    text = Page((await ask(console, "/")).text).text
    assert "and 7 more" in text
    assert text.count(SYNCED.id) == SHOWN


async def test_every_address_on_the_page_answers(console: Console, now: Now) -> None:
    now.ready = True
    for address in Page((await ask(console, "/")).text).addresses:
        assert (await ask(console, address)).status == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/debug/proxies", "/debug/problems"])
async def test_head_says_what_get_says_without_the_body(console: Console, path: str) -> None:
    get, head = await ask(console, path), await ask(console, path, "HEAD")
    assert head.text == ""
    assert head.status == get.status
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_whatever_could_change_something_is_refused(console: Console, method: str) -> None:
    answer = await ask(console, "/debug/proxies", method, **{"content-length": "0"})
    assert answer.status == 405
    assert answer.json == {"error": "the console only reads: GET and HEAD"}
    assert "GET" in answer.headers["allow"]


async def test_an_unknown_path_is_a_404_in_json(console: Console) -> None:
    answer = await ask(console, "/debug/nothing")
    assert answer.status == 404
    assert answer.json == {"error": "there is nothing at /debug/nothing"}


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.9:15014", "[::1]:15014", "legation.example:15014"]
)
async def test_it_answers_to_its_own_names(console: Console, host: str) -> None:
    assert (await ask(console, "/healthz", host=host)).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:15014", "localhost.evil.example", "10.0.0.1", "", "[::2]", "a:b:c"]
)
@pytest.mark.parametrize("path", ["/healthz", "/debug/proxies", "/", "/nothing"])
async def test_a_name_rebound_to_it_gets_nothing(console: Console, now: Now, host: str, path: str) -> None:
    now._proxies = [SYNCED]
    answer = await ask(console, path, host=host)
    assert answer.status == 403
    assert SYNCED.id not in answer.text


async def test_pages_from_elsewhere_get_nothing(console: Console) -> None:
    port = console.port
    for origin in ("http://evil.example", "null", f"http://localhost:{port + 1}", ""):
        assert (await ask(console, "/debug/proxies", origin=origin)).status == 403
    assert (await ask(console, "/debug/proxies", origin=f"http://localhost:{port}")).status == 200


async def test_on_all_addresses_it_answers_to_the_one_that_was_asked(now: Now) -> None:
    async with await Console.start(now, CollectorRegistry(), "0.0.0.0") as console:
        assert (await ask(console, "/healthz", host=f"127.0.0.2:{console.port}", at="127.0.0.2")).status == 200
        assert (await ask(console, "/healthz", host="evil.example", at="127.0.0.2")).status == 403
    if socket.has_dualstack_ipv6():
        async with await Console.start(now, CollectorRegistry(), "::1") as console:
            assert (await ask(console, "/healthz", host=f"[::1]:{console.port}", at="::1")).status == 200


async def test_metrics_are_what_prometheus_reads(console: Console, metrics: Metrics, now: Now) -> None:
    metrics.stream_opened("delta", "envoy")
    metrics.stream_opened("delta", "envoy")
    metrics.stream_closed("delta", "envoy")
    metrics.pushed("cds", 100)
    metrics.pushed("cds", 20)
    metrics.acked("cds", 0.002)
    metrics.nacked("lds", 0.2)
    metrics.converged(0.03)
    metrics.rendered(0.001)
    metrics.first_answered(0.5)
    metrics.came_back()
    metrics.stale("eds")
    metrics.lagged(0.0001)
    metrics.delivered(0.02)
    metrics.revised()
    metrics.reported(documents=7, held=1, problems=[WRONG, EVIL, WRONG])
    now._proxies = [SYNCED, REFUSING]
    metrics.follow(now.proxies)
    answer = await ask(console, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    for expected in (
        ("legation_streams", "envoy", "delta", 1),
        ("legation_pushes_total", "cds", 2),
        ("legation_send_bytes_total", "cds", 120),
        ("legation_acks_total", "cds", 1),
        ("legation_nacks_total", "lds", 1),
        ("legation_ack_latency_seconds_count", "cds", 1),
        ("legation_ack_latency_seconds_bucket", "0.1", "lds", 0),
        ("legation_ack_latency_seconds_bucket", "0.25", "lds", 1),
        ("legation_convergence_seconds_sum", 0.03),
        ("legation_render_seconds_count", 1),
        ("legation_first_request_wait_seconds_count", 1),
        ("legation_reconnects_total", 1),
        ("legation_delivery_seconds_sum", 0.02),
        ("legation_clients_stalled", 0),
        ("legation_stale_nonces_total", "eds", 1),
        ("legation_event_loop_lag_seconds_count", 1),
        ("legation_revisions_total", 1),
        ("legation_documents", 7),
        ("legation_held", 1),
        ("legation_problems", "error", 2),
        ("legation_problems", "warning", 1),
        ("legation_problems", "info", 0),
        ("legation_clients_behind", "cds", 1),
        ("legation_clients_behind", "lds", 1),
        ("legation_clients_refusing", "lds", 1),
        ("legation_versions_in_fleet", "cds", 2),
    ):
        *key, value = expected
        assert samples[tuple(key)] == value, key
    assert not [name for name in samples if SYNCED.id in name or REFUSING.id in name]
    open_metrics = await ask(console, "/metrics", accept="application/openmetrics-text")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")


async def test_signals_stay_the_apps(now: Now) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with await Console.start(now, CollectorRegistry()) as console:
        await ask(console, "/healthz")
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_port_in_use_is_an_error_and_a_stopped_one_is_free(now: Now) -> None:
    async with await Console.start(now, CollectorRegistry()) as console:
        with pytest.raises(OSError, match="in use"):
            await Console.start(now, CollectorRegistry(), port=console.port)
    async with await Console.start(now, CollectorRegistry(), port=console.port) as again:
        assert (await ask(again, "/healthz")).status == 200
