"""What is in a listener that ends TLS, who gets its certificates, and what a change of either costs."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from legation import names
from legation.model.kubernetes import Secret
from legation.model.meta import Key, Object, ObjectMeta
from legation.model.proxy import Role, Scope
from legation.render import printed, resources
from legation.render.resources import Rendered
from legation.snapshot.snapshot import Snapshot
from worlds import Line

GATEWAY = Scope(Role.GATEWAY, "default", secrets=True)


def server(number: int) -> str:
    return f"""
  - port: {{number: 443, name: s{number}, protocol: HTTPS}}
    hosts: [s{number}.example]
    tls: {{mode: MUTUAL, credentialName: s{number}}}"""


def gateway(count: int) -> str:
    servers = "".join(map(server, range(count)))
    return f"apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec:\n  servers:{servers}\n"


def rule(number: int, timeout: str = "1s") -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: s{number}}}
spec:
  hosts: [s{number}.example]
  gateways: [edge]
  http: [{{timeout: {timeout}, route: [{{destination: {{host: web}}}}]}}]
"""


def secret(name: str, namespace: str = "default", **content: str) -> Object:
    """A Secret whose content nobody has looked at."""
    spec = Secret.model_validate({"stringData": content}, by_alias=True, by_name=False)
    return Object(Key("Secret", namespace, name), ObjectMeta(), spec)


def rendered(line: Line, scope: Scope = GATEWAY) -> Snapshot:
    return resources.render(line.recall, scope, Rendered(Snapshot()), "")[0].snapshot


@pytest.mark.parametrize("count", [20, 300])
def test_a_changed_route_leaves_the_listener_alone_however_many_hosts_it_has(count: int) -> None:
    line = Line(gateway(count), *map(rule, range(count)))
    before, _ = resources.render(line.recall, GATEWAY, Rendered(Snapshot()), "")
    assert len(before.snapshot.of(names.LISTENER)) == 1
    assert len(before.snapshot.of(names.ROUTE)) == count
    began = line.change(rule(7, "9s"))
    _, change = resources.render(line.recall, GATEWAY, before, "")
    assert change == {names.ROUTE: frozenset({"https.443.s7.edge.default"})}
    assert line.recall.runs - began < 30


def test_one_server_more_is_one_chain_more() -> None:
    """Envoy keeps the connections of all chains that stay as they are, if nothing else of the listener changed."""
    line = Line(gateway(20))
    before = printed.message(rendered(line).of(names.LISTENER)["0.0.0.0_443"])
    line.change(gateway(21))
    after = printed.message(rendered(line).of(names.LISTENER)["0.0.0.0_443"])
    assert after["filter_chains"][:20] == before["filter_chains"]
    assert {**after, "filter_chains": []} == {**before, "filter_chains": []}


PAIRS = [{"cert": "C", "key": "K", "cacert": "A"}, {"tls.crt": "C", "tls.key": "K", "ca.crt": "A"}]


@pytest.mark.parametrize("content", PAIRS, ids=["older", "tls"])
def test_a_secret_in_either_spelling_gives_certificate_and_authorities(content: dict[str, str]) -> None:
    line = Line(gateway(1))
    line.change([secret("s0", **content)])
    found = rendered(line).of(names.SECRET)
    assert found.keys() == {"kubernetes://s0", "kubernetes://s0-cacert"}
    assert printed.message(found["kubernetes://s0"])["tls_certificate"] == {
        "certificate_chain": {"inline_bytes": b64encode(b"C").decode()}, "private_key": {"inline_string": "[redacted]"}
    }  # fmt: skip
    trusted = printed.message(found["kubernetes://s0-cacert"])["validation_context"]["trusted_ca"]
    assert trusted == {"inline_bytes": b64encode(b"A").decode()}
    assert "body" not in repr(found["kubernetes://s0"]), "nobody logs a key by logging a resource"


def test_authorities_of_their_own_go_first() -> None:
    line = Line(gateway(1))
    line.change([secret("s0", **PAIRS[1]), secret("s0-cacert", **{"ca.crt": "B"})])
    trusted = printed.message(rendered(line).of(names.SECRET)["kubernetes://s0-cacert"])
    assert trusted["validation_context"]["trusted_ca"]["inline_bytes"] == b64encode(b"B").decode()


def test_who_gets_a_secret() -> None:
    """Those that refer to it, from their own namespace, over a channel that nobody else reads."""
    line = Line(gateway(1))
    line.change([secret("s0", **PAIRS[1]), secret("s0", "other", **PAIRS[1]), secret("unasked", **PAIRS[1])])
    assert rendered(line).of(names.SECRET).keys() == {"kubernetes://s0", "kubernetes://s0-cacert"}
    assert not rendered(line, replace(GATEWAY, secrets=False)).of(names.SECRET)
    assert not rendered(line, replace(GATEWAY, namespace="third")).of(names.SECRET)
    assert not rendered(line, Scope(Role.SIDECAR, "default", secrets=True)).of(names.SECRET)
    line.change(removed=[Key("Secret", "default", "s0")])
    assert not rendered(line).of(names.SECRET)


def test_a_new_certificate_changes_its_secret_and_nothing_else() -> None:
    line = Line(gateway(2))
    line.change([secret("s0", **PAIRS[1]), secret("s1", **PAIRS[1])])
    before, _ = resources.render(line.recall, GATEWAY, Rendered(Snapshot()), "")
    line.change([secret("s1", **{**PAIRS[1], "tls.crt": "D"})])
    _, change = resources.render(line.recall, GATEWAY, before, "")
    assert change == {names.SECRET: frozenset({"kubernetes://s1"})}


def test_authorities_from_a_config_map() -> None:
    text = gateway(1).replace(
        "credentialName: s0", 'credentialName: s0, caCertCredentialName: "configmap://default/trust"'
    )
    line = Line(text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: trust}\ndata: {ca.crt: T}\n")
    found = printed.message(rendered(line).of(names.SECRET)["configmap://default/trust"])
    assert found["validation_context"]["trusted_ca"]["inline_bytes"] == b64encode(b"T").decode()
