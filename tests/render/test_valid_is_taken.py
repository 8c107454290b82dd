"""What validation passes without an error the real Envoy takes: VirtualServices made by chance, as odd as they can be."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from cases import proxy, tree
from legation import pipeline
from legation.ingest import documents
from legation.ingest.decode import decode
from legation.local import static
from legation.local.verdict import verdict
from legation.problems import Severity

pytestmark = [pytest.mark.envoy, pytest.mark.xdist_group("accepted")]

ODD = (
    "", "/", "a", "*", ".*", "%", "%%", "%REQ(x-a)%", "100%", "%PROTOCOL%", "\\1",
    "\\0", "\\", "//", "/a b", "/ä", "ß", "\u2028",
    "\t", "\x7f", "\n", "a" * 300, "/" + "b" * 1024, "(?i)a+", "(", "[a-z]{2,3}",
    "^/x$", "a{1001}", "([^x]{300}){3}", "[\\pL]{9}",
    "null", "0", "-1", "'", '"', "#", "?x=y", "https://a.example", "a.example:8080",
    "[::1]", "..", "%2e", "🙂", ":", ";", "{}",
    "\\C", "\\pN", "(?P<n>a)", "(?:)", "$", "{host}", "*.example", " ", " a ", "a,b", "5xx", "true",
)  # fmt: skip
HEADERS = (
    "x-a", "X-B", "host", "Host", ":authority", ":path", ":method", ":scheme",
    ":status", "cookie", "te", "connection",
    "content-length", "transfer-encoding", "upgrade", "x-envoy-attempt-count",
    "x-forwarded-for", "_", "!#$%&'*+-.^_`|~",
    "a b", "", "uri", "grpc-timeout", "x" * 300, "@request.auth.claims.a",
)  # fmt: skip
HOSTS = (
    "boat",
    "boat.default",
    "boat.default.svc.cluster.local",
    "nobody",
    "10.0.0.1",
    "*.boat",
    "a" * 63,
    "BOAT",
    "boat.",
)
DURATIONS = ("1ms", "1s", "25ms", "2562047h", "24h", "1.5s", "0s", "86400s", "1h1m1s", "100000h")


class Made:
    """Things by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)

    def maybe(self, **fields: Any) -> dict[str, Any]:
        """Some of these fields; at least one."""
        some = {name: make for name, make in fields.items() if self.chance.random() < 0.35}
        chosen = some or dict([self.chance.choice(list(fields.items()))])
        return {name: make() for name, make in chosen.items()}

    def one(self, **fields: Any) -> dict[str, Any]:
        """One of these fields."""
        name, make = self.chance.choice(list(fields.items()))
        return {name: make()}

    def some(self, make: Any, most: int = 3) -> list[Any]:
        return [make() for _ in range(self.chance.randint(1, most))]

    def text(self) -> str:
        if self.chance.random() < 0.8:
            return self.chance.choice(("/a", "abc", "a-b", "/some/path", "x.example", "1"))
        return self.chance.choice(ODD)

    def number(self, *numbers: int) -> int:
        return self.chance.choice(numbers)

    def duration(self) -> str:
        return self.chance.choice(DURATIONS)

    def header(self) -> str:
        return self.chance.choice(HEADERS if self.chance.random() < 0.3 else HEADERS[:2])

    def headers(self, make: Any) -> dict[str, Any]:
        return {self.header(): make() for _ in range(self.chance.randint(1, 3))}

    def string_match(self) -> dict[str, Any]:
        return {} if self.chance.random() < 0.1 else self.one(exact=self.text, prefix=self.text, regex=self.text)

    def percent(self) -> dict[str, Any]:
        return {"value": self.chance.choice((0, 0.0001, 0.57, 1, 33.333333, 99.9999, 100))}

    def destination(self) -> dict[str, Any]:
        made: dict[str, Any] = {"host": self.chance.choice(HOSTS)}
        if self.chance.random() < 0.3:
            made["subset"] = self.chance.choice(("v1", "v9", "a" * 63))
        if self.chance.random() < 0.3:
            made["port"] = {"number": self.number(1, 80, 8080, 65535)}
        return made

    def match(self) -> dict[str, Any]:
        return self.maybe(
            name=self.text,
            uri=self.string_match,
            scheme=self.string_match,
            method=self.string_match,
            authority=self.string_match,
            headers=lambda: self.headers(self.string_match),
            withoutHeaders=lambda: self.headers(lambda: self.chance.choice((None, {}, self.string_match()))),
            queryParams=lambda: {self.text(): self.string_match()},
            ignoreUriCase=lambda: True,
            statPrefix=self.text,
            port=lambda: self.number(80, 80, 81),
        )

    def operations(self) -> dict[str, Any]:
        values = lambda: self.headers(self.text)  # noqa: E731
        return self.maybe(set=values, add=values, remove=lambda: self.some(self.header))

    def header_operations(self) -> dict[str, Any]:
        return self.maybe(request=self.operations, response=self.operations)

    def route(self) -> list[dict[str, Any]]:
        made = []
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            entry = {"destination": self.destination(), "weight": self.number(0, 1, 50, 100, 2**31 - 1)}
            if self.chance.random() < 0.3:
                entry["headers"] = self.header_operations()
            made.append(entry)
        return made

    def redirect(self) -> dict[str, Any]:
        return self.maybe(
            uri=self.text,
            authority=self.text,
            scheme=lambda: self.chance.choice(("http", "https", "")),
            port=lambda: self.number(1, 80, 443, 65535),
            derivePort=lambda: self.chance.choice(("FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT")),
            redirectCode=lambda: self.number(0, 301, 302, 303, 307, 308),
            prefixRewrite=self.text,
        )

    def answer(self) -> dict[str, Any]:
        made: dict[str, Any] = {"status": self.number(200, 204, 304, 404, 418, 503, 599)}
        if self.chance.random() < 0.6:
            made["body"] = self.one(
                string=lambda: self.text() * self.number(1, 500),
                bytes=lambda: self.chance.choice(("", "YQ==", "AAECAw==")),
            )
        return made

    def rewrite(self) -> dict[str, Any]:
        return self.maybe(
            uri=self.text,
            authority=self.text,
            uriRegexRewrite=lambda: {"match": self.chance.choice(("a", "(a)(b)", self.text())), "rewrite": self.text()},
        )

    def retries(self) -> dict[str, Any]:
        made: dict[str, Any] = {"attempts": self.number(0, 1, 3, 2**31 - 1)}
        made |= self.maybe(
            perTryTimeout=self.duration,
            retryOn=lambda: ",".join(
                self.some(lambda: self.chance.choice(("5xx", "503", "reset", "cancelled", "100")))
            ),
            retryRemoteLocalities=lambda: self.chance.choice((True, False)),
            retryIgnorePreviousHosts=lambda: self.chance.choice((True, False)),
            backoff=self.duration,
        )
        return made

    def fault(self) -> dict[str, Any]:
        return self.maybe(
            delay=lambda: {
                "fixedDelay": self.duration(),
                **self.one(percentage=self.percent, percent=lambda: self.number(0, 100)),
            },
            abort=lambda: {
                **self.one(
                    httpStatus=lambda: self.number(200, 400, 599),
                    grpcStatus=lambda: self.chance.choice(("OK", "UNAVAILABLE", "UNAUTHENTICATED")),
                ),
                "percentage": self.percent(),
            },
        )

    def cors(self) -> dict[str, Any]:
        return self.maybe(
            allowOrigins=lambda: self.some(self.string_match),
            allowOrigin=lambda: self.some(self.text),
            allowMethods=lambda: self.some(lambda: self.chance.choice(("GET", "*", "TRACE"))),
            allowHeaders=lambda: self.some(self.header),
            exposeHeaders=lambda: self.some(self.header),
            maxAge=self.duration,
            allowCredentials=lambda: self.chance.choice((True, False)),
            unmatchedPreflights=lambda: self.chance.choice(("UNSPECIFIED", "FORWARD", "IGNORE")),
        )

    def refining(self) -> dict[str, Any]:
        """What goes with a route."""
        return self.maybe(
            rewrite=self.rewrite,
            timeout=self.duration,
            retries=self.retries,
            fault=self.fault,
            mirror=self.destination,
            mirrorPercentage=self.percent,
            mirrorPercent=lambda: self.number(0, 1, 100),
            mirrors=lambda: self.some(lambda: {"destination": self.destination(), "percentage": self.percent()}),
        )

    def rule(self) -> dict[str, Any]:
        made = self.one(
            route=self.route, again=self.route, redirect=self.redirect, directResponse=self.answer,
            delegate=lambda: {"name": f"leaf-{self.number(1, 2, 3)}"},
        )  # fmt: skip
        made = {"route" if name == "again" else name: value for name, value in made.items()}
        if "route" in made or "delegate" in made:
            made |= self.refining()
        return made | self.maybe(
            name=self.text, match=lambda: self.some(self.match), again=lambda: self.some(self.match),
            headers=self.header_operations, corsPolicy=self.cors,
        )  # fmt: skip


def documents_of(seed: int, count: int) -> list[str]:
    """So many VirtualServices that validation passes, most of them with one rule, and three delegates."""
    made = Made(seed)
    found: list[str] = []
    names = [f"leaf-{number}" for number in (1, 2, 3)] + [f"v{number}" for number in range(count)]
    for name in names:
        while True:
            rules = [{key: value for key, value in rule.items() if key != "again"} for rule in made.some(made.rule, 2)]
            spec: dict[str, Any] = {"http": rules}
            if name.startswith("v"):
                spec |= {"hosts": [f"{name}.example"], "gateways": ["edge"]}
            elif any("delegate" in rule for rule in rules):
                continue
            text = _document("VirtualService", name, spec)
            reading = documents.read("made.yaml", text)
            if (
                all(problem.severity is not Severity.ERROR for one in reading.documents for problem in decode(one)[1])
                and not reading.problems
            ):
                found.append(text)
                break
    return found


def _document(kind: str, name: str, spec: dict[str, Any], api: str = "networking.istio.io/v1") -> str:
    text = json.dumps({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f").replace("\u2028", "\\u2028") + "\n"


AROUND = [
    _document(
        "Gateway", "edge",
        {
            "selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
        },
    ),
    _document("Service", "boat", {"ports": [{"name": "http", "port": 80}]}, "v1"),
    _document("DestinationRule", "boat", {"host": "boat", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}),
]  # fmt: skip


def said(texts: list[str]) -> str:
    """What Envoy says of these documents; nothing if it takes them."""
    compiled = pipeline.compile(tree({"made.yaml": "---\n".join([*AROUND, *texts])}), proxy({"role": "gateway"}))
    return verdict(static.bootstrap(compiled.snapshot))


def culprits(texts: list[str]) -> list[tuple[str, str]]:
    """The documents that Envoy refuses, each with its words."""
    leaves, roots = texts[:3], texts[3:]
    if not (words := said(texts)):
        return []
    if len(roots) == 1:
        return [(words, roots[0])]
    half = len(roots) // 2
    return culprits(leaves + roots[:half]) + culprits(leaves + roots[half:])


@pytest.mark.parametrize("seed", range(3))
def test_a_valid_virtual_service_is_taken(seed: int) -> None:
    texts = documents_of(seed, 400)
    if said(texts):
        assert culprits(texts) == []
