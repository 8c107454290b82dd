"""Where documents are found: every question that is asked of a World, and its answer."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from legation.model import index
from legation.model.meta import Key, Object, ObjectMeta
from legation.model.world import World
from worlds import documents, world


def places(text: str) -> set[tuple[Hashable, Hashable]]:
    (item,) = documents(text)
    return set(index.places(item, "cluster.local"))


def test_a_service_is_found_by_host_port_and_address() -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: n}
spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, "FD00::1"], ports: [{name: http, port: 80}, {name: grpc, port: 81}]}
"""
    host = "a.n.svc.cluster.local"
    assert places(text) == {
        ("Service", ("n", "a")), ("service", host), (("port", 80), host), (("port", 81), host), ("ports", 80), ("ports", 81),
        ("address", "10.0.0.1"), ("address", "fd00::1"),
    }  # fmt: skip


def test_a_headless_service_has_no_address() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: None, ports: [{port: 80}]}"
    assert not any(table == "address" for table, _ in places(text))


def test_a_rule_is_found_by_everything_that_its_host_may_mean() -> None:
    head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: n}\nspec:\n"
    text = (
        head
        + '  hosts: [a, b.c, "*.d.example"]\n  gateways: [mesh, g, other/h]\n  http: [{directResponse: {status: 200}}]'
    )
    found = places(text)
    mesh = {name for table, name in found if table == ("bound", "mesh")}
    assert mesh == {"a", "a.n.svc.cluster.local", "b.c", "b.c.svc.cluster.local", "*.d.example"}
    for gateway in ("n/g", "other/h"):
        at_gateway = {name for table, name in found if table == ("bound", gateway)}
        assert at_gateway == {"a.n.svc.cluster.local", "b.c", "*.d.example"}
        assert (("bound wildcard", gateway), "*.d.example") in found


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mesh", "mesh"),
        ("edge", "n/edge"),
        ("./edge", "n/edge"),
        ("infra/edge", "infra/edge"),
        ("edge.infra", "infra/edge"),
        ("edge.infra.svc.cluster.local", "infra/edge"),
    ],
)
def test_what_a_gateway_is_called(written: str, meant: str) -> None:
    assert index.gateway_reference(written, "n") == meant


def test_labels_that_select_proxies_are_known() -> None:
    text = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g}
spec: {selector: {istio: edge}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec: {hosts: [a], http: [{match: [{sourceLabels: {tier: front}}], directResponse: {status: 200}}]}
"""
    assert set(world(text).names("selected label")) == {"istio", "tier"}


def test_workloads_are_found_by_each_label() -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: w, labels: {app: mine}}
spec: {address: 10.0.0.1, labels: {app: spec, version: v1}}
"""
    assert {place for place in places(entry) if place[0] == "workload"} == {
        ("workload", ("default", "app", "mine")),
        ("workload", ("default", "version", "v1")),
    }


def test_the_older_stands_before_the_younger_and_names_decide_among_equals() -> None:
    def pod(name: str, created: float | None) -> Object:
        return Object(Key("Pod", "n", name), ObjectMeta({"app": "x"}, created=created), None)

    items = [pod("b", None), pod("a", None), pod("z", 1.0), pod("y", 2.0)]
    forth, _ = World().apply(items)
    back, _ = World().apply(reversed(items))
    for made in (forth, back):
        found = made.get("workload", ("n", "app", "x"))
        assert [item.key.name for item in found] == ["z", "y", "a", "b"]
