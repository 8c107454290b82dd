"""Who shares what: a DestinationRule costs the clusters that it governs, and proxies differ only where it matters."""

from __future__ import annotations

from typing import Any

import pytest
from legation.model import instances
from legation.model.proxy import Locality, Proxy, Role, Scope, labels
from legation.model.recall import Recall
from legation.render import resources
from legation.render.resources import Rendered
from legation.snapshot.snapshot import Snapshot
from worlds import Line

ENTRY = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: s{0}}}
spec:
  hosts: [s{0}.test]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 10.0.0.{0}, locality: eu/a}}, {{address: 10.0.1.{0}, locality: us/b}}]
"""
MESH = "".join(ENTRY.format(number) for number in range(20))


def rule(policy: str, host: str = "s3.test", name: str = "r", more: str = "") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}}}
spec:
  host: "{host}"
  subsets: [{{name: all}}]
  trafficPolicy: {{{policy}}}
{more}"""


PLAIN = rule("loadBalancer: {simple: ROUND_ROBIN}")
S3 = {"outbound|80||s3.test", "outbound|80|all|s3.test"}


class Ran(list[tuple[str, Any]]):
    """The units that ran, by name, with their first argument."""

    def of(self, unit: str) -> list[Any]:
        return [argument for name, argument in self if name == unit]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    found = Ran()
    run = Recall._run

    def noted(self: Recall, entry: Any, *rest: Any) -> None:
        function, args = entry.unit
        found.append((function.__name__, args[0] if args else None))
        run(self, entry, *rest)

    monkeypatch.setattr(Recall, "_run", noted)
    return found


def proxy(place: str = "", namespace: str = "default", **own: str) -> Proxy:
    return Proxy("p", Role.SIDECAR, namespace, "p", labels=labels(own), locality=Locality.parse(place))


class Fleet:
    """What some proxies are served, from one World to the next."""

    def __init__(self, text: str, *proxies: Proxy) -> None:
        self.line = Line(text)
        self.proxies = proxies
        self.served: dict[Scope, Rendered] = {}
        self.render()

    def scope(self, of: Proxy) -> Scope:
        return instances.scope(self.line.recall.world, of)

    def render(self) -> None:
        for each in self.proxies:
            before = self.served.get(self.scope(each), Rendered(Snapshot()))
            self.served[self.scope(each)], _ = resources.render(self.line.recall, self.scope(each), before, "")

    def change(self, text: str) -> None:
        self.line.change(text)
        self.render()

    def tables(self, of: Proxy) -> resources.Resources:
        found = self.served[self.scope(of)].resources
        assert found is not None
        return found


EU, US, OTHER = proxy("eu/a"), proxy("us/b"), proxy("eu/a", "other")


def test_a_rule_costs_its_clusters_and_nothing_else(ran: Ran) -> None:
    fleet = Fleet(MESH + PLAIN, EU, US, OTHER)
    ran.clear()
    fleet.change(rule("connectionPool: {tcp: {maxConnections: 1}}"))
    assert sorted(ran.of("_cluster")) == sorted(S3)  # once each, whoever has them
    for untouched in ("_load_assignment", "mesh_host", "listener", "listeners", "endpoints"):
        assert ran.of(untouched) == [], untouched


def test_a_hash_costs_the_virtual_hosts_that_lead_there(ran: Ran) -> None:
    fleet = Fleet(MESH + PLAIN, EU)
    ran.clear()
    fleet.change(rule("loadBalancer: {consistentHash: {useSourceIp: true}}"))
    assert set(ran.of("_cluster")) == S3
    assert ran.of("mesh_host") == ["s3.test"]


def test_a_wildcard_costs_what_it_contains_and_no_more(ran: Ran) -> None:
    wild = rule("loadBalancer: {simple: RANDOM}", "*3.test")
    fleet = Fleet(MESH + wild, EU)
    ran.clear()
    fleet.change(rule("loadBalancer: {simple: ROUND_ROBIN}", "*3.test"))
    assert set(ran.of("_cluster")) == S3 | {name.replace("s3", "s13") for name in S3}


def test_where_proxies_run_makes_no_difference_until_a_rule_says_so(ran: Ran) -> None:
    fleet = Fleet(MESH + PLAIN, EU, US)
    assert fleet.scope(EU) == fleet.scope(US)
    ran.clear()
    fleet.change(rule("outlierDetection: {}"))
    assert fleet.scope(EU) != fleet.scope(US)
    # Once each for everyone, and again for those who are somewhere, once for every place.
    assert set(ran.of("_load_assignment")) == S3
    assert len(ran.of("_load_assignment")) <= 3 * len(S3)
    assert ran.of("mesh_host") == []
    near, far = fleet.tables(EU), fleet.tables(US)
    for name in near.endpoints:
        assert (near.endpoints[name] is far.endpoints[name]) is (name not in S3)
        assert near.clusters[name] is far.clusters[name]
    for one, other in ((near.routes, far.routes), (near.listeners, far.listeners)):
        assert all(one[name] is other[name] for name in one)


def test_a_selector_costs_the_clusters_that_it_governs(ran: Ran) -> None:
    chosen, other = proxy(app="chosen"), proxy(app="other")
    fleet = Fleet(MESH + PLAIN, chosen, other)
    ran.clear()
    selector = "  workloadSelector: {matchLabels: {app: chosen}}\n"
    fleet.change(rule("loadBalancer: {simple: RANDOM}", name="chosen", more=selector))
    assert set(ran.of("_cluster")) == S3
    assert ran.of("_load_assignment") == []
    mine, theirs = fleet.tables(chosen), fleet.tables(other)
    assert {name for name in mine.clusters if mine.clusters[name] is not theirs.clusters[name]} == S3


def test_namespaces_share_what_is_the_same_for_them() -> None:
    fleet = Fleet(MESH + PLAIN, EU, OTHER)
    mine, theirs = fleet.tables(EU), fleet.tables(OTHER)
    assert all(mine.clusters[name] is theirs.clusters[name] for name in mine.clusters)
    assert all(mine.endpoints[name] is theirs.endpoints[name] for name in mine.endpoints)
