"""Who a sidecar's workload is, and what it is called for."""

from __future__ import annotations

import pytest
from legation.model import instances
from legation.model.proxy import Capture, Proxy, Role, Scope, Workload
from legation.model.recall import Recall
from worlds import world

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: till}
spec: {selector: {app: till}, ports: [{name: http, port: 80, targetPort: web}]}
"""
PODS = "".join(
    f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: till-{number}, labels: {{app: till, pod: "{number}"}}}}
spec: {{containers: [{{name: c, ports: [{{name: web, containerPort: 8080}}]}}]}}
status: {{podIP: 10.0.0.{number}}}
"""
    for number in range(1, 4)
)
DEPLOYMENT = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: till}
spec:
  template:
    metadata: {labels: {app: till}}
    spec: {containers: [{name: c, ports: [{name: web, containerPort: 8081}]}]}
"""
INGRESS = """
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: all}
spec: {ingress: [{port: {number: 9080, protocol: HTTP}, defaultEndpoint: "127.0.0.1:8080"}]}
"""
OWN_ADDRESS = INGRESS.replace("127.0.0.1:8080", "0.0.0.0:8080")


def proxy(name: str, ip: str = "127.0.0.1", capture: Capture = Capture.REDIRECT, **more: str) -> Proxy:
    labels = tuple(sorted({key: value for key, value in more.items() if key != "deployment"}.items()))
    return Proxy(
        name, Role.SIDECAR, "default", name, ip, labels, capture=capture, deployment=more.get("deployment", "")
    )


def numbers(text: str, of: Proxy) -> list[tuple[int, str]]:
    made = world(text)
    scope = instances.scope(made, of)
    assert scope.workload is not None
    found = Recall(made).ask(instances.instances, scope.namespace, scope.workload)
    return [(one.number, one.service.host) for one in found]


TILL = "till.default.svc.cluster.local"


def test_replicas_are_one_scope_whatever_they_are_called_and_wherever_they_are() -> None:
    made = world(SERVICE + PODS)
    scopes = {instances.scope(made, proxy(f"till-{number}", f"10.0.0.{number}")) for number in range(1, 4)}
    assert scopes == {
        Scope(
            Role.SIDECAR, "default", capture=Capture.REDIRECT,
            workload=Workload((("app", "till"),), (("web", 8080),)),
        )
    }  # fmt: skip


def test_a_pod_is_known_by_its_name_and_not_by_what_its_proxy_claims() -> None:
    assert numbers(SERVICE + PODS, proxy("till-1", app="bank")) == [(8080, TILL)]


@pytest.mark.parametrize("who", [proxy("till"), proxy("till-5fd", deployment="till")])
def test_what_made_it_speaks_for_it(who: Proxy) -> None:
    assert numbers(SERVICE + DEPLOYMENT, who) == [(8081, TILL)]


def test_without_a_document_the_labels_count_that_it_claims() -> None:
    plain = SERVICE.replace(", targetPort: web", ", targetPort: 8080")
    assert numbers(plain, proxy("anyone", app="till")) == [(8080, TILL)]
    assert numbers(plain, proxy("anyone", app="bank")) == []
    assert numbers(SERVICE, proxy("anyone", app="till")) == [], "nobody says which port is called web"


def test_an_address_counts_only_where_something_names_it() -> None:
    entry = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.2}, {address: 127.0.0.1}]
"""
    assert numbers(SERVICE + PODS + entry, proxy("till-2", "10.0.0.2")) == [(80, "a.example"), (8080, TILL)]
    assert numbers(SERVICE + PODS + entry, proxy("till-1", "127.0.0.1")) == [(8080, TILL)]
    made = world(SERVICE + PODS + entry)
    one, two, three = (instances.scope(made, proxy(f"till-{number}", f"10.0.0.{number}")) for number in (1, 2, 3))
    assert one == three != two


def test_who_is_redirected_nothing_and_takes_no_calls_is_nobody_in_particular() -> None:
    one, two = (proxy(f"till-{number}", f"10.0.0.{number}", Capture.NONE) for number in (1, 2))
    made = world(SERVICE + PODS + DEPLOYMENT)
    assert instances.scope(made, one) == Scope(Role.SIDECAR, "default")
    made = world(SERVICE + PODS + INGRESS)
    assert instances.scope(made, one) == instances.scope(made, two) != Scope(Role.SIDECAR, "default")
    made = world(SERVICE + PODS + OWN_ADDRESS)
    assert instances.scope(made, one) != instances.scope(made, two)


def test_what_a_workload_is_called_with_does_not_change_what_it_calls() -> None:
    made = world(SERVICE + PODS)
    scope = instances.scope(made, proxy("till-1"))
    assert scope.outward == instances.scope(made, proxy("another")).outward
    assert scope.outward.workload is None
