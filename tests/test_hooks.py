"""Hooks: what they change goes out, what they leave alone is not even looked at, and a bad one changes nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from cases import proxy, tree
from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from legation import hooks, names, pipeline
from legation.hooks import Hooked, NoHook, Resources, apply, load
from legation.model.proxy import Scope
from legation.render import printed
from legation.snapshot.snapshot import Snapshot

DOCS = Path(__file__).parents[1] / "docs" / "hooks.md"
TEXT = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec: {hosts: [a.example], gateways: [edge], http: [{route: [{destination: {host: a.test}}]}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.1}]
"""
PROXY = proxy({"role": "gateway"})
SCOPE = PROXY.scope(frozenset({"istio"}))
RENDERED = pipeline.compile(tree({"a.yaml": TEXT}), PROXY).snapshot
NAME = "outbound|80||a.test"


def nothing(scope: Scope, resources: Resources) -> None:
    assert NAME in resources.clusters
    assert len(resources.clusters) == 1
    assert resources.clusters[NAME].name == NAME


def edits(scope: Scope, resources: Resources) -> None:
    resources.clusters[NAME].alt_stat_name = "mine"
    resources.clusters["more"] = Cluster(name="more")
    del resources.endpoints[NAME]


def raises(scope: Scope, resources: Resources) -> None:
    resources.clusters["nobody"]


def misnames(scope: Scope, resources: Resources) -> None:
    resources.clusters["other"] = Cluster(name="mine")


def first(hook: hooks.Hook) -> Hooked:
    return apply(hook, SCOPE, RENDERED, {}, Hooked())[0]


def test_what_is_only_read_is_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(hooks, "_class", lambda url, real=hooks._class: read.append(url) or real(url))
    found = first(nothing)
    assert found.edited == frozenset()
    assert found.snapshot.versions == RENDERED.versions
    assert set(read) == {names.CLUSTER}


def test_what_is_edited_added_and_removed_goes_out() -> None:
    found, change = apply(edits, SCOPE, RENDERED, {}, Hooked(RENDERED))
    assert found.problem is None
    assert change == {names.CLUSTER: {NAME, "more"}, names.ENDPOINT: {NAME}}
    assert printed.message(found.snapshot.of(names.CLUSTER)[NAME])["alt_stat_name"] == "mine"
    assert found.snapshot.of(names.CLUSTER)[NAME].origins == RENDERED.of(names.CLUSTER)[NAME].origins
    assert NAME not in found.snapshot.of(names.ENDPOINT)
    assert found.snapshot.of(names.ROUTE) == RENDERED.of(names.ROUTE)


def test_what_a_hook_no_longer_does_is_taken_back() -> None:
    before = first(edits)
    after, change = apply(nothing, SCOPE, RENDERED, {}, before)
    assert after.snapshot.versions == RENDERED.versions
    assert change == {names.CLUSTER: {NAME, "more"}, names.ENDPOINT: {NAME}}


@pytest.mark.parametrize(("hook", "said"), [(raises, "KeyError"), (misnames, "is called 'mine'")])
def test_a_bad_hook_leaves_what_was_there_and_names_its_line(hook: hooks.Hook, said: str) -> None:
    before = first(edits)
    after, change = apply(hook, SCOPE, RENDERED, {names.CLUSTER: frozenset({NAME})}, before)
    assert after.snapshot is before.snapshot
    assert change == {}
    assert after.problem is not None
    assert said in after.problem.message
    assert after.problem.file == __file__
    line = Path(__file__).read_text().splitlines()[after.problem.line - 1]
    assert 'resources.clusters["nobody"]' in line or "def misnames" in line
    mended, change = apply(nothing, SCOPE, RENDERED, {}, after)
    assert mended.snapshot.versions == RENDERED.versions
    assert change == {names.CLUSTER: {NAME, "more"}, names.ENDPOINT: {NAME}}


def test_a_bad_hook_of_a_scope_that_had_nothing() -> None:
    found, _ = apply(raises, SCOPE, RENDERED, {}, Hooked(Snapshot()))
    assert found.snapshot is RENDERED
    assert found.problem is not None


@pytest.mark.parametrize("written", ["nothing", "no_such_module:f", "legation.hooks:nobody", "legation.hooks:FAILED"])
def test_what_is_no_hook_is_told_at_the_start(written: str) -> None:
    with pytest.raises(NoHook):
        load(written)


def test_the_example_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "edge.py").write_text(code[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "edge", raising=False)
    found = first(load("edge:mark"))
    assert found.problem is None
    route = printed.message(found.snapshot.of(names.ROUTE)["http.8080"])
    assert route["response_headers_to_add"][0]["header"] == {"key": "x-marked", "value": "http.8080"}
