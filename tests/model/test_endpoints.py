"""Where requests really go, from whichever documents say so."""

from __future__ import annotations

from legation.model import endpoints, services
from legation.model.proxy import Locality
from legation.model.recall import Recall
from legation.model.sidecars import Viewer
from legation.model.world import Mesh
from worlds import world

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {selector: {app: a}, ports: [{name: http, port: 80, targetPort: <target>}]}
"""
HOST = "a.default.svc.cluster.local"
WORKLOAD = """
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: w, labels: {app: a}}
spec: {address: 10.0.0.1, ports: {<ports>}}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: a}}
spec: {containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]}
status: {podIP: 10.0.0.2<status>}
"""
SLICE = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: http, port: 9090}]
endpoints: [{addresses: [10.0.0.3]}]
"""
DEPLOYMENT = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  template:
    metadata: {labels: {app: a}}
    spec: {containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]}
"""


def found(*texts: str, host: str = HOST, mesh: Mesh = Mesh()) -> list[str]:
    recall = Recall(world(*texts, mesh=mesh))
    listed = recall.ask(endpoints.endpoints, host, "default", 80)
    return [f"{one.address}:{one.port}{'' if one.healthy else ' unhealthy'}" for one in listed]


def service(target: str = "80") -> str:
    return SERVICE.replace("<target>", target)


def workload(ports: str = "") -> str:
    return WORKLOAD.replace("<ports>", ports)


def pod(status: str = "") -> str:
    return POD.replace("<status>", status)


def test_the_port_of_a_workload_entry() -> None:
    assert found(service(), workload()) == ["10.0.0.1:80"]
    assert found(service("8080"), workload()) == ["10.0.0.1:8080"]
    assert found(service("8080"), workload("http: 1")) == ["10.0.0.1:1"]
    assert found(service("web"), workload("http: 1, web: 2")) == ["10.0.0.1:2"]
    assert found(service("web"), workload()) == []


def test_the_port_of_a_pod() -> None:
    assert found(service("web"), pod()) == ["10.0.0.2:8080"]
    assert found(service("7"), pod()) == ["10.0.0.2:7"]
    assert found(service("none"), pod()) == []


def test_the_state_of_a_pod() -> None:
    assert found(service(), pod(", phase: Failed")) == []
    assert found(service(), pod(', conditions: [{type: Ready, status: "False"}]')) == ["10.0.0.2:80 unhealthy"]
    assert found(service(), pod(', conditions: [{type: Ready, status: "True"}]')) == ["10.0.0.2:80"]


def test_slices_speak_for_the_pods_and_workload_entries_for_themselves() -> None:
    assert found(service(), pod(), SLICE) == ["10.0.0.3:9090"]
    assert found(service(), pod(), SLICE, workload()) == ["10.0.0.1:80", "10.0.0.3:9090"]


def test_a_deployment_speaks_only_where_nobody_else_does() -> None:
    compose = Mesh(deployments_are_hosts=True)
    assert found(service("web"), DEPLOYMENT) == []
    assert found(service("web"), DEPLOYMENT, mesh=compose) == ["d:8080"]
    assert found(service("web"), DEPLOYMENT, pod(), mesh=compose) == ["10.0.0.2:8080"]
    assert found(service("web"), DEPLOYMENT, SLICE, mesh=compose) == ["10.0.0.3:9090"]


def test_a_service_without_a_selector_selects_nobody() -> None:
    assert found(service().replace("selector: {app: a}, ", ""), workload(), pod()) == []


def test_an_address_appears_once() -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: e}
spec:
  hosts: [e.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.1, locality: eu}, {address: 10.0.0.1}, {address: 10.0.0.1, ports: {http: 81}}]
"""
    assert found(entry, host="e.example") == ["10.0.0.1:81", "10.0.0.1:80"]


def test_names_are_looked_up_and_sockets_are_not() -> None:
    def by_dns(*texts: str) -> bool:
        recall = Recall(world(*texts))
        of = recall.ask(services.service, HOST, Viewer("default"))
        assert of is not None
        return recall.ask(endpoints.found_by_dns, of, 80)

    assert not by_dns(service(), workload())
    assert by_dns(service(), workload().replace("10.0.0.1", "w.example"))
    socket = workload().replace("10.0.0.1, ports: {}", "unix:///run/w")
    assert not by_dns(service(), socket)


def test_a_locality_is_written_or_labelled() -> None:
    written = workload().replace("ports: {}", "locality: eu/north/rack")
    labelled = workload().replace("app: a}", "app: a, istio-locality: us.west}")
    for text, locality in ((written, Locality("eu", "north", "rack")), (labelled, Locality("us", "west"))):
        (one,) = Recall(world(service(), text)).ask(endpoints.endpoints, HOST, "default", 80)
        assert one.locality == locality
