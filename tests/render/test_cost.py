"""The cost of a change follows the change: as many units run for one in a mesh of 400 services as in one of 20."""

from __future__ import annotations

import pytest
from legation.model.proxy import Client, Role, Scope
from legation.model.reach import Reached
from legation.model.recall import Reader
from legation.render import clusters, resources
from legation.render.resources import Rendered
from legation.snapshot.snapshot import Resource, Snapshot
from worlds import Line

SCOPES = (
    Scope(Role.GATEWAY, "default"), Scope(Role.SIDECAR, "default"), Scope(Role.SIDECAR, "other"),
    Scope(Role.SIDECAR, "default", client=Client.GRPC),
)  # fmt: skip

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["*"]
"""


def virtual_service(number: int, timeout: str = "1s", host: str = "") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: s{number}}}
spec:
  hosts: [s{number}.default.svc.cluster.local]
  gateways: [mesh, edge]
  http:
  - timeout: {timeout}
    route: [{{destination: {{host: {host or f"s{number}"}, subset: v1}}}}]
"""


def destination_rule(number: int, policy: str = "ROUND_ROBIN") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: s{number}}}
spec:
  host: s{number}
  trafficPolicy: {{loadBalancer: {{simple: {policy}}}}}
  subsets: [{{name: v1, labels: {{version: v1}}}}]
"""


def service(number: int, port: int = 80) -> str:
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: s{number}}}
spec:
  selector: {{app: s{number}}}
  ports: [{{name: http, port: {port}}}]
"""


def endpoint(number: int, address: str = "10.0.0.1") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: s{number}, labels: {{app: s{number}, version: v1}}}}
spec: {{address: {address}}}
"""


def mesh(size: int) -> str:
    kinds = (service, endpoint, virtual_service, destination_rule)
    return GATEWAY + "".join(make(number) for make in kinds for number in range(size))


def cost(size: int, changed: str) -> tuple[int, int]:
    """Units that run for a change, in all scopes, and how many resources it changes."""
    line = Line(mesh(size))
    before = {scope: resources.render(line.recall, scope, Rendered(Snapshot()), "")[0] for scope in SCOPES}
    start = line.change(changed)
    changes = [resources.render(line.recall, scope, before[scope], "")[1] for scope in SCOPES]
    return line.recall.runs - start, sum(len(names) for change in changes for names in change.values())


CHANGES = {
    "VirtualService": virtual_service(3, "2s"),
    "DestinationRule": destination_rule(3, "RANDOM"),
    "endpoint": endpoint(3, "10.0.0.2"),
    "new endpoint": endpoint(3).replace("name: s3,", "name: s3b,").replace("10.0.0.1", "10.0.0.2"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_one_changed_document_costs_the_same_in_a_mesh_of_any_size(kind: str) -> None:
    few, names = cost(20, CHANGES[kind])
    many, as_many_names = cost(400, CHANGES[kind])
    assert names == as_many_names > 0
    assert many <= few
    assert few < 60


def test_a_change_of_no_consequence_costs_next_to_nothing() -> None:
    """A label that nobody selects by."""
    runs, names = cost(20, endpoint(3).replace("version: v1}", "version: v1, colour: red}"))
    assert names == 0
    assert runs < 40


def test_an_endpoint_of_a_known_account_makes_no_cluster_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    original = clusters._cluster

    def counted(reader: Reader, name: str, reached: Reached) -> Resource | None:
        made.append(name)
        return original(reader, name, reached)

    monkeypatch.setattr(clusters, "_cluster", counted)
    encrypted = destination_rule(3).replace("trafficPolicy: {", "trafficPolicy: {tls: {mode: ISTIO_MUTUAL}, ")
    entry = endpoint(3).replace("spec: {", "spec: {serviceAccount: one, ")
    line = Line(service(3), entry, encrypted)

    def made_again(changed: str) -> list[str]:
        made.clear()
        line.change(changed)
        resources.render(line.recall, SCOPES[1], Rendered(Snapshot()), "")
        return made

    resources.render(line.recall, SCOPES[1], Rendered(Snapshot()), "")
    another = entry.replace("name: s3,", "name: s3b,").replace("10.0.0.1", "10.0.0.2")
    assert made_again(another) == []
    assert len(made_again(another.replace("serviceAccount: one", "serviceAccount: two"))) == 2  # and the subset's


def test_the_whole_mesh_costs_more() -> None:
    """What the numbers above are measured against: a count that is always small would prove nothing."""
    line = Line(mesh(20))
    resources.render(line.recall, SCOPES[1], Rendered(Snapshot()), "")
    assert line.recall.runs > 20 * 5
