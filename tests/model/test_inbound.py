"""On which ports a workload is called: what clashes, what would call itself, and who is told."""

from __future__ import annotations

from typing import Any

import pytest
from legation.model import inbound, instances
from legation.model.proxy import Capture, Client, Proxy, Role, labels
from legation.model.recall import Recall
from worlds import world

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: till}
spec: {selector: {app: till}, ports: [{name: http, port: 80, targetPort: <port>}]}
---
"""


def sidecar(*entries: str) -> str:
    listed = "".join(f"  - {{{entry}}}\n" for entry in entries)
    return f"apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: all}}\nspec:\n  ingress:\n{listed}"


def entry(number: int, more: str = "", protocol: str = "TCP") -> str:
    return f"port: {{number: {number}, protocol: {protocol}}}{more and ', ' + more}"


def opened(
    text: str, capture: Capture = Capture.NONE, **more: Any
) -> tuple[list[tuple[str, int, str, int]], list[str]]:
    """Where it listens and where that leads; and the codes of what is said."""
    made = world(text)
    of = Proxy("till", Role.SIDECAR, "default", "till", labels=labels({"app": "till"}), capture=capture, **more)
    found = Recall(made).ask(inbound.opened, instances.scope(made, of))
    return [(one.bind, one.real or one.number, one.address, one.to) for one in found.ports], [
        finding.code for finding in found.findings
    ]


NOTHING: list[Any] = []


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (entry(9080), {}),
        (entry(9080, 'defaultEndpoint: "127.0.0.1:9080"'), {}),
        (entry(9080, 'bind: 0.0.0.0, defaultEndpoint: "127.0.0.1:9080"'), {}),
        (entry(9080, 'bind: "::", defaultEndpoint: "[::1]:9080"'), {}),
        (entry(9080, 'bind: 0.0.0.0, defaultEndpoint: "0.0.0.0:9080"'), {"ip": "10.0.0.1"}),
        (entry(9080, 'bind: 10.0.0.1, defaultEndpoint: "0.0.0.0:9080"'), {"ip": "10.0.0.1"}),
        (entry(9080, 'defaultEndpoint: "127.0.0.1:9081"'), {"port_map": ((9080, 9081),)}),
    ],
)
def test_what_would_call_itself_stays_closed(text: str, more: dict[str, Any]) -> None:
    assert opened(sidecar(text), **more) == (NOTHING, [inbound.NEVER_OPEN])


@pytest.mark.parametrize(
    ("text", "more", "leads"),
    [
        (entry(9080, "bind: 10.0.0.1"), {}, ("10.0.0.1", 9080, "127.0.0.1", 9080)),
        (entry(9080), {"port_map": ((9080, 9081),)}, ("127.0.0.1", 9081, "127.0.0.1", 9080)),
        (entry(9080), {"bind": "127.0.0.5"}, ("127.0.0.5", 9080, "127.0.0.1", 9080)),
        (entry(9080, 'defaultEndpoint: "0.0.0.0:9080"'), {"ip": "10.0.0.1"}, ("127.0.0.1", 9080, "10.0.0.1", 9080)),
        (entry(9080, "defaultEndpoint: 'unix:///a'"), {}, ("127.0.0.1", 9080, "unix:///a", 0)),
        (entry(9080, 'bind: "0:0::1", defaultEndpoint: "[::1]:1"'), {}, ("::1", 9080, "::1", 1)),
    ],
)
def test_where_calls_go_on_to(text: str, more: dict[str, Any], leads: tuple[str, int, str, int]) -> None:
    assert opened(sidecar(text), **more) == ([leads], [])


def test_two_ports_that_land_on_one() -> None:
    both = sidecar(entry(80, "defaultEndpoint: '127.0.0.1:1'"), entry(8080, "defaultEndpoint: '127.0.0.1:2'"))
    ports, told = opened(both, port_map=((80, 8080),))
    assert (ports, told) == ([("127.0.0.1", 8080, "127.0.0.1", 1)], [inbound.LANDS_ON_ONE])


@pytest.mark.parametrize(
    ("bind", "number", "is_taken"),
    [
        ("127.0.0.1", 90, True), ("0.0.0.0", 90, True), ("127.0.0.2", 90, False), ("127.0.0.1", 91, False),
    ],
)  # fmt: skip
def test_an_address_of_the_workloads_own_calls_is_theirs(bind: str, number: int, is_taken: bool) -> None:
    service = SERVICE.replace("port: 80, targetPort: <port>", "port: 90")
    ports, told = opened(service + sidecar(entry(number, f"bind: {bind}, defaultEndpoint: '127.0.0.1:1'")))
    assert (len(ports), told) == ((0, [inbound.SAME_ADDRESS]) if is_taken else (1, []))


@pytest.mark.parametrize("port", [15001, 15006])
def test_where_calls_are_redirected_to_nothing_else_listens(port: int) -> None:
    own = sidecar(entry(port, "captureMode: NONE, bind: 10.0.0.1"))
    assert opened(own, Capture.REDIRECT) == (NOTHING, [inbound.SAME_ADDRESS])
    assert opened(own)[1] == []


def test_a_workload_on_the_port_to_which_calls_are_redirected_cannot_be_told_from_the_proxy() -> None:
    assert opened(SERVICE.replace("<port>", "15006"), Capture.REDIRECT) == (NOTHING, [inbound.NEVER_OPEN])
    assert opened(SERVICE.replace("<port>", "15007"), Capture.REDIRECT) == ([("", 15007, "", 15007)], [])
    moved = opened(SERVICE.replace("<port>", "15006"), Capture.REDIRECT, port_map=((15006, 25006),))
    assert moved == ([("", 15006, "", 15006)], [])


def test_without_redirection_services_open_nothing() -> None:
    assert opened(SERVICE.replace("<port>", "8080")) == (NOTHING, [])


def test_a_client_of_grpcs_own_opens_nothing() -> None:
    assert opened(sidecar(entry(9080, "bind: 10.0.0.1")), client=Client.GRPC) == (NOTHING, [])
