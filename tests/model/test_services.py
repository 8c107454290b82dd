"""What a port speaks, what a host is, and under which names it is known."""

from __future__ import annotations

import pytest
from legation.model import protocols, services
from legation.model.protocols import Protocol
from legation.model.recall import Recall
from legation.model.sidecars import Viewer
from worlds import world


@pytest.mark.parametrize(
    ("name", "number", "protocol"),
    [
        ("http", 80, Protocol.HTTP),
        ("HTTP", 80, Protocol.HTTP),
        ("http-web", 80, Protocol.HTTP),
        ("http_proxy", 80, Protocol.HTTP),
        ("http2", 80, Protocol.HTTP2),
        ("http2-x", 80, Protocol.HTTP2),
        ("grpc", 80, Protocol.GRPC),
        ("grpc-api", 80, Protocol.GRPC),
        ("grpc-web", 80, Protocol.GRPC_WEB),
        ("grpc-web-api", 80, Protocol.GRPC_WEB),
        ("grpc-webby", 80, Protocol.GRPC_WEB),
        ("https", 443, Protocol.HTTPS),
        ("tls-x", 443, Protocol.TLS),
        ("tcp-db", 80, Protocol.TCP),
        ("mongo", 80, Protocol.MONGO),
        ("redis-cache", 80, Protocol.REDIS),
        ("mysql", 80, Protocol.MYSQL),
        ("udp-x", 80, Protocol.UDP),
        ("kubernetes.io/h2c", 80, Protocol.HTTP2),
        ("kubernetes.io/ws", 80, Protocol.HTTP),
        ("kubernetes.io/wss", 80, Protocol.HTTPS),
        ("", 80, Protocol.AUTO),
        ("httpweb", 80, Protocol.AUTO),
        ("web-http", 80, Protocol.AUTO),
        ("web", 3306, Protocol.TCP),
        ("", 53, Protocol.TCP),
        ("", 25, Protocol.TCP),
        ("", 27017, Protocol.TCP),
        ("http", 3306, Protocol.HTTP),
    ],
)
def test_the_protocol_is_in_the_name(name: str, number: int, protocol: Protocol) -> None:
    assert protocols.of_name(name, number) is protocol


@pytest.mark.parametrize(
    ("field", "protocol"),
    [
        ("HTTP", Protocol.HTTP),
        ("grpc", Protocol.GRPC),
        ("GRPC-Web", Protocol.GRPC_WEB),
        ("", Protocol.AUTO),
        ("x", Protocol.AUTO),
    ],
)
def test_an_entry_says_its_protocol_outright(field: str, protocol: Protocol) -> None:
    assert protocols.of_field(field) is protocol


def test_which_protocols_are_routed_and_which_need_http2() -> None:
    routed = {protocol for protocol in Protocol if protocol.is_http}
    assert routed == {Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB, Protocol.AUTO}
    assert {protocol for protocol in Protocol if protocol.is_http2} == {
        Protocol.HTTP2,
        Protocol.GRPC,
        Protocol.GRPC_WEB,
    }


@pytest.mark.parametrize(
    ("exported", "own", "client", "seen"),
    [
        ((), "a", "b", True),
        (("*",), "a", "b", True),
        ((".",), "a", "a", True),
        ((".",), "a", "b", False),
        (("b",), "a", "b", True),
        (("b",), "a", "a", False),
        (("~",), "a", "a", False),
        ((".", "c"), "a", "c", True),
    ],
)
def test_who_sees_it(exported: tuple[str, ...], own: str, client: str, seen: bool) -> None:
    assert services.visible(exported, own, client) is seen


ENTRY = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: <name>, namespace: <namespace>, creationTimestamp: "<year>-01-01T00:00:00Z"}
spec:
  hosts: [shop.prod.svc.cluster.local]
  exportTo: ["<export>"]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: prod, annotations: {networking.istio.io/exportTo: "<export>"}}
spec: {ports: [{name: http, port: 80}]}
"""
HOST = "shop.prod.svc.cluster.local"


def entry(name: str, namespace: str, year: int, export: str = "*") -> str:
    text = ENTRY.replace("<name>", name).replace("<namespace>", namespace)
    return text.replace("<year>", str(year)).replace("<export>", export)


def who(client: str, *texts: str) -> str:
    found = Recall(world(*texts)).ask(services.service, HOST, Viewer(client))
    return f"{found.origins[0].kind} {found.namespace}" if found else "nobody"


def test_whose_definition_of_a_host_counts() -> None:
    young, old = entry("young", "a", 2026), entry("old", "b", 2020)
    assert who("x", young, old) == "ServiceEntry b"
    assert who("a", young, old) == "ServiceEntry a"
    kubernetes = SERVICE.replace("<export>", "*")
    assert who("a", young, old, kubernetes) == "Service prod"


def test_a_definition_that_is_not_seen_hides_nothing() -> None:
    private, public = entry("private", "b", 2020, "."), entry("public", "a", 2026)
    assert who("x", private, public) == "ServiceEntry a"
    assert who("b", private, public) == "ServiceEntry b"
    assert who("x", SERVICE.replace("<export>", "."), public) == "ServiceEntry a"
    assert who("x", private) == "nobody"


def test_names_below_the_domain_have_short_forms() -> None:
    found = Recall(world(SERVICE.replace("<export>", "*"))).ask(services.service, HOST, Viewer("prod"))
    assert found is not None
    long = (HOST, HOST + ".")
    assert services.short_names(found, "prod", "cluster.local") == (*long, "shop", "shop.prod.svc", "shop.prod")
    assert services.short_names(found, "other", "cluster.local") == (*long, "shop.prod.svc", "shop.prod")
    assert services.short_names(found, "prod", "elsewhere") == long


def test_what_a_name_in_a_document_means() -> None:
    recall = Recall(world(SERVICE.replace("<export>", "*"), entry("x", "a", 2026).replace(HOST, "single")))

    def meant(reader: object, name: str, namespace: str) -> str:
        return services.resolve(reader, name, namespace)  # type: ignore[arg-type]

    assert recall.ask(meant, "shop", "prod") == HOST
    assert recall.ask(meant, "shop", "a") == "shop.a.svc.cluster.local"
    assert recall.ask(meant, "shop.prod", "a") == HOST
    assert recall.ask(meant, "shop.test", "a") == "shop.test"
    assert recall.ask(meant, "single", "a") == "single"
