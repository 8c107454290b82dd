"""What validation passes without an error the real Envoy takes: DestinationRules made by chance, at every limit."""

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

DURATIONS = ("1ms", "999ms", "1s", "30s", "32767s", "24h", "100000h", "2562047h")
TEXTS = (
    "a",
    "x-a",
    "a.example",
    "*.example",
    "%",
    "ä",
    "a" * 300,
    "a b",
    "::1",
    "10.0.0.1",
    "spiffe://a/b",
    "a;b=c",
    "/a",
    "\t",
)
PLACES = ("eu", "eu/a", "eu/a/1", "eu/*", "us", "us/c", "*", "asia/d/*")
LABELS = ("stage", "topology.kubernetes.io/region", "topology.istio.io/network", "version=v1", "stage=")


class Made:
    """Things by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)

    def maybe(self, **fields: Any) -> dict[str, Any]:
        """Some of these fields, one at least: constants, lists to choose from, or functions."""
        some = {name: of for name, of in fields.items() if self.chance.random() < 0.4}
        chosen = some or dict([self.chance.choice(list(fields.items()))])
        return {name: self.value(of) for name, of in chosen.items()}

    def value(self, of: Any) -> Any:
        return of() if callable(of) else self.chance.choice(of)

    def some(self, of: Any, most: int = 3) -> list[Any]:
        return [self.value(of) for _ in range(self.chance.randint(1, most))]

    def hashing(self) -> dict[str, Any]:
        cookie = lambda: {  # noqa: E731
            "name": self.value(TEXTS),
            **self.maybe(
                path=TEXTS, ttl=("0s", *DURATIONS),
                attributes=lambda: self.some(lambda: {"name": self.value(TEXTS), "value": self.value(TEXTS)}),
            ),
        }  # fmt: skip
        by = self.chance.choice([
            {"httpHeaderName": self.value(TEXTS)}, {"httpCookie": cookie()}, {"useSourceIp": True}, {},
            {"httpQueryParameterName": self.value(TEXTS)},
        ])  # fmt: skip
        how = self.chance.choice([
            {}, {"ringHash": {"minimumRingSize": self.value((0, 1, 1024, 65536))}}, {"minimumRingSize": 100},
            {"maglev": {"tableSize": self.value((2, 251, 65537))}}, {"maglev": {}},
        ])  # fmt: skip
        return by | how

    def failover(self) -> dict[str, Any]:
        return {"from": self.value(("eu", "us", "asia")), "to": self.value(("eu", "us", "moon"))}

    def localities(self) -> dict[str, Any]:
        shares = self.chance.choice([{"eu/a/*": 70, "us": 30}, {"*": 100}, {"eu": 1, "us": 99}, {"moon": 100}])
        return self.chance.choice([
            {"distribute": [{"from": self.value(PLACES), "to": shares}]},
            {"failover": self.some(self.failover)},
            {"failoverPriority": self.some(LABELS)},
            {"failover": [self.failover()], "failoverPriority": self.some(LABELS)},
            {"enabled": False},
            {},
        ])  # fmt: skip

    def balancer(self) -> dict[str, Any]:
        made: dict[str, Any] = self.chance.choice([
            {"simple": self.value(("UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN"))},
            {"consistentHash": self.hashing()},
            {},
        ])  # fmt: skip
        made |= self.chance.choice([
            {"localityLbSetting": self.localities()}, {},
            {"zoneAwareLbSetting": self.maybe(enabled=(True, False), minClusterSize=(1, 2**64 - 1))},
        ])  # fmt: skip
        warmup = {
            "duration": self.value(DURATIONS),
            **self.maybe(minimumPercent=(0, 0.5, 100), aggression=(0.001, 1, 1e9)),
        }
        return made | self.chance.choice([{"warmup": warmup}, {"warmupDurationSecs": self.value(DURATIONS)}, {}])

    def pool(self) -> dict[str, Any]:
        count = (0, 1, 1000, 2**31 - 1)
        keepalive = lambda: self.maybe(probes=(0, 1, 127), time=DURATIONS, interval=DURATIONS)  # noqa: E731
        return self.maybe(
            tcp=lambda: self.maybe(
                maxConnections=count, connectTimeout=DURATIONS, tcpKeepalive=keepalive,
                maxConnectionDuration=DURATIONS, idleTimeout=("0s", *DURATIONS),
            ),
            http=lambda: self.maybe(
                http1MaxPendingRequests=count, http2MaxRequests=count, maxRequestsPerConnection=count, maxRetries=count,
                idleTimeout=DURATIONS, h2UpgradePolicy=("DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"),
                useClientProtocol=(True, False), maxConcurrentStreams=count,
                http2KeepAlive=lambda: {"interval": self.value(DURATIONS), "timeout": self.value(DURATIONS)},
            ),
        )  # fmt: skip

    def detection(self) -> dict[str, Any]:
        count = (0, 1, 5, 2**32 - 1)
        return self.chance.choice([{}, self.maybe(
            consecutive5xxErrors=count, consecutiveGatewayErrors=count, splitExternalLocalOriginErrors=(True, False),
            consecutiveLocalOriginFailures=count, interval=DURATIONS, baseEjectionTime=DURATIONS,
            maxEjectionPercent=(0, 1, 100), minHealthPercent=(0, 1, 100),
            outlierDetectionHttpErrorCodes=lambda: self.some((100, 200, 429, 500, 599)),
        )])  # fmt: skip

    def tls(self) -> dict[str, Any]:
        return {"mode": self.value(("DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"))} | self.chance.choice([{}, self.maybe(
            clientCertificate=("/etc/a.crt", "a"), privateKey=("/etc/a.key",), caCertificates=("/etc/ca.crt", ""),
            credentialName=("", "shop", "other/shop"), subjectAltNames=lambda: self.some(TEXTS),
            sni=TEXTS, insecureSkipVerify=(True, False),
        )])  # fmt: skip

    def of_port(self) -> dict[str, Any]:
        return self.maybe(
            loadBalancer=self.balancer, connectionPool=self.pool, outlierDetection=self.detection, tls=self.tls
        )

    def policy(self) -> dict[str, Any]:
        budget = lambda: self.chance.choice([{}, self.maybe(  # noqa: E731
            percent=(0, 0.1, 100), minRetryConcurrency=(0, 2**32 - 1), budgetInterval=("0s", *DURATIONS),
        )])  # fmt: skip
        return self.of_port() | self.maybe(
            portLevelSettings=lambda: [{"port": {"number": 81}, **self.of_port()}],
            proxyProtocol=({}, {"version": "V2"}), retryBudget=budget,
        )  # fmt: skip

    def rule(self) -> dict[str, Any]:
        subset = lambda name: {"name": name, "trafficPolicy": self.policy()}  # noqa: E731
        return {"trafficPolicy": self.policy(), "subsets": [{"name": "plain"}, subset("own")]}


def document(kind: str, name: str, spec: dict[str, Any]) -> str:
    head = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name}}
    return json.dumps({**head, "spec": spec}) + "\n"


def pair(made: Made, name: str) -> str:
    """A service, and a rule for it that validation passes."""
    ports = [
        {"number": 80, "name": "one", "protocol": made.value(("HTTP", "GRPC"))},
        {"number": 81, "name": "two", "protocol": made.value(("HTTP", "HTTP2"))},
    ]
    places = ("eu/a/1", "eu/b", "us/c", "")
    endpoints = [{"address": f"10.0.0.{n}", "locality": place} for n, place in enumerate(places)]
    entry = {"hosts": [f"{name}.test"], "ports": ports, "resolution": "STATIC", "endpoints": endpoints}
    while True:
        text = document("DestinationRule", name, {"host": f"{name}.test", **made.rule()})
        (read,) = documents.read("made.yaml", text).documents
        if all(problem.severity is not Severity.ERROR for problem in decode(read)[1]):
            return text + "---\n" + document("ServiceEntry", name, entry)


def said(pairs: list[str]) -> str:
    """What Envoy says of these documents; nothing if it takes them."""
    asker = proxy({"role": "sidecar", "locality": "eu/a/1", "labels": {"stage": "x", "version": "v1"}})
    compiled = pipeline.compile(tree({"made.yaml": "---\n".join(pairs)}), asker)
    return verdict(static.bootstrap(compiled.snapshot))


def culprits(pairs: list[str]) -> list[tuple[str, str]]:
    """The documents that Envoy refuses, each with its words."""
    if not (words := said(pairs)):
        return []
    if len(pairs) == 1:
        return [(words, pairs[0])]
    half = len(pairs) // 2
    return culprits(pairs[:half]) + culprits(pairs[half:])


@pytest.mark.parametrize("seed", range(3))
def test_a_valid_destination_rule_is_taken(seed: int) -> None:
    made = Made(seed)
    pairs = [pair(made, f"s{number}") for number in range(100)]
    if said(pairs):
        assert culprits(pairs) == []
