"""Which VirtualServices rule a host, for whom, and in what order."""

from __future__ import annotations

from legation.model import routing, servers
from legation.model.proxy import Role, Scope
from legation.model.recall import Recall
from legation.model.sidecars import Viewer
from worlds import world


def rule(name: str, hosts: str, namespace: str = "default", year: int = 2026, rest: str = "") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{year}-01-01T00:00:00Z"}}
spec:
  hosts: [{hosts}]
  http: [{{directResponse: {{status: 200}}}}]
  {rest}
"""


def service(name: str, port: int = 80, namespace: str = "default") -> str:
    head = f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
    return head + f"spec: {{ports: [{{name: http, port: {port}}}]}}\n"


HOST = "a.default.svc.cluster.local"


def ruling(*texts: str, host: str = HOST, client: str = "default") -> list[str]:
    return [item.key.name for item in Recall(world(*texts)).ask(routing.in_mesh, host, Viewer(client))]


def test_the_oldest_goes_first() -> None:
    assert ruling(rule("b", HOST, year=2025), rule("c", HOST, year=2024), rule("a", HOST)) == ["c", "b", "a"]


def test_private_goes_before_named_before_public() -> None:
    texts = (
        rule("public", HOST, year=2020),
        rule("named", HOST, year=2021, rest="exportTo: [default, x]"),
        rule("private", HOST, year=2022, rest='exportTo: ["."]'),
    )
    assert ruling(*texts) == ["private", "named", "public"]
    assert ruling(*texts, client="x") == ["named", "public"]
    assert ruling(*texts, client="y") == ["public"]


def test_the_host_itself_goes_before_wildcards_and_longer_ones_before_shorter() -> None:
    short, long, exact = rule("s", '"*.cluster.local"', year=2020), rule("l", '"*.svc.cluster.local"'), rule("e", HOST)
    assert ruling(short, long, exact) == ["e"]
    assert ruling(short, long) == ["l"]
    assert ruling(short) == ["s"]
    assert ruling(short, long.replace("http:", 'exportTo: ["."]\n  http:'), client="other") == ["s"]


def test_short_hosts_are_of_the_rules_namespace() -> None:
    texts = (service("a"), service("a", namespace="other"), rule("here", "a"), rule("there", "a", "other"))
    assert ruling(*texts) == ["here"]
    assert ruling(*texts, host="a.other.svc.cluster.local") == ["there"]


def alone(*texts: str, host: str, client: str = "default") -> set[int]:
    return set(Recall(world(*texts)).ask(routing.ports_alone, host, Viewer(client)))


def test_a_host_that_no_service_has_is_ruled_on_port_80_and_beside_services() -> None:
    assert alone(rule("r", "x.example"), host="x.example") == {80}
    assert alone(service("a", 9080), rule("r", "a, x.example"), host="x.example") == {80, 9080}
    assert alone(service("a", 9080), rule("r", "a"), host="x.example") == set()
    assert alone(rule("r", "x.example", rest='exportTo: ["."]'), host="x.example", client="other") == set()


def test_a_wildcard_is_no_name_where_it_fits_services() -> None:
    text = rule("r", '"*.default.svc.cluster.local"')
    assert alone(text, host="*.default.svc.cluster.local") == {80}
    assert alone(service("a", 80), text, host="*.default.svc.cluster.local") == set()
    assert alone(service("a", 81), text, host="*.default.svc.cluster.local") == {80}


def test_the_servers_of_a_gateway_proxy() -> None:
    text = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: n}
spec:
  selector: {istio: edge}
  servers:
  - {port: {number: 80, name: a, protocol: HTTP}, hosts: [./A.example, b.example, "*/c.example", x/d.example]}
  - {port: {number: 81, name: b, protocol: TCP}, hosts: ["*"]}
  - {port: {number: 82, name: c, protocol: HTTP}, bind: 0.0.0.0, hosts: ["*"]}
"""
    recall = Recall(world(text))
    served = recall.ask(servers.servers, Scope(Role.GATEWAY, "n", (("istio", "edge"),), port_map=((80, 8080),)))
    assert [(server.number, server.real_port, server.bind) for server in served if server.number != 81] == [
        (80, 8080, ""),
        (82, 82, ""),
    ]
    assert [(host.namespace, host.host) for host in served[0].hosts] == [
        ("n", "a.example"),
        ("", "b.example"),
        ("", "c.example"),
        ("x", "d.example"),
    ]
    assert recall.ask(servers.servers, Scope(Role.GATEWAY, "n")) == ()
