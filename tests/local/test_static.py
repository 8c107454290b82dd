"""A Snapshot as a static configuration, Envoy's word for it, and the documents that are meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cases import CASES, compiled, proxy, tree
from click.testing import CliRunner
from legation import names, pipeline
from legation.cli import main
from legation.cli.second_opinion import culprits
from legation.local import static
from legation.local.envoy import EnvoyMissing
from legation.local.verdict import verdict
from legation.model.meta import Key
from legation.snapshot.snapshot import Snapshot

CASE = {str(case): case for case in CASES}


def strings(value: Any) -> set[str]:
    """Every text in a value, keys too."""
    if isinstance(value, dict):
        return {text for item in value.items() for part in item for text in strings(part)}
    if isinstance(value, list):
        return {text for item in value for text in strings(item)}
    return {value} if isinstance(value, str) else set()


def test_nothing_in_it_asks_a_server() -> None:
    made = static.bootstrap(compiled(CASE["destinations/subset"]).snapshot)
    assert not {"ads", "rds", "eds_cluster_config", "EDS"} & strings(made)
    (listener,) = made["static_resources"]["listeners"]
    routes = listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
    assert routes["name"] == "http.8080"
    clusters = {cluster["name"]: cluster for cluster in made["static_resources"]["clusters"]}
    old = clusters["outbound|80|v1|books.default.svc.cluster.local"]
    (group,) = old["load_assignment"]["endpoints"]
    assert group["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"] == "10.9.0.1"


def test_what_is_not_there_is_empty() -> None:
    """A route table or endpoints that are still missing: Envoy would answer 404 and 503."""
    full = compiled(CASE["gateways/one-host"]).snapshot
    kept = {url: full.of(url) for url in (names.LISTENER, names.CLUSTER)}
    made = static.bootstrap(Snapshot(kept))["static_resources"]
    assert made["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"] == {
        "name": "http.8080"
    }
    assert made["clusters"][0]["load_assignment"] == {"cluster_name": made["clusters"][0]["name"]}


def test_a_snapshot_stays_what_it_was() -> None:
    snapshot = compiled(CASE["gateways/one-host"]).snapshot
    assert static.bootstrap(snapshot) == static.bootstrap(snapshot)


def test_several_are_told_apart() -> None:
    one = static.bootstrap(compiled(CASE["gateways/one-host"]).snapshot)
    both = static.together([one, one])["static_resources"]
    assert [made["name"] for made in both["listeners"]] == ["0/0.0.0.0_8080", "1/0.0.0.0_8080"]
    assert len({made["address"]["socket_address"]["port_value"] for made in both["listeners"]}) == 2
    assert len({made["name"] for made in both["clusters"]}) == len(both["clusters"])


@pytest.mark.envoy
def test_secrets_are_asked_of_nobody() -> None:
    """Keys never stand in it, nor does it depend on files that are on the proxy's host alone."""
    made = static.bootstrap(compiled(CASE["destination-rules/tls"]).snapshot)
    assert "secrets" not in made["static_resources"]
    assert "ads" not in strings(made)
    assert verdict(made) == ""


KEYS = [Key("VirtualService", "default", str(number)) for number in range(64)]


@pytest.mark.parametrize("guilty", [[], [0], [63], [5, 6], [0, 31, 32, 63]])
def test_the_guilty_are_found_by_halves(guilty: list[int]) -> None:
    asked = 0

    def refused(without: Any) -> str:
        nonlocal asked
        asked += 1
        return "" if {KEYS[number] for number in guilty} <= set(without) else "no"

    assert culprits(KEYS, refused) == [KEYS[number] for number in guilty]
    assert asked <= 1 + 14 * len(guilty)


def test_of_two_that_are_refused_together_one_is_enough() -> None:
    def refused(without: Any) -> str:
        return "" if {KEYS[3], KEYS[40]} & set(without) else "twice"

    assert culprits(KEYS, refused) in ([KEYS[3]], [KEYS[40]])


FAKE = """#!/bin/sh
# An Envoy that minds a word.
for word do file=$last; last=$word; case $file in -c) config=$word;; esac; done
if grep -q POISON "$config"; then
  echo "error initializing configuration '$config': POISON is refused" >&2
  exit 1
fi
"""
TEXT = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: good}
spec: {hosts: [good.example], gateways: [edge], http: [{directResponse: {status: 200}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bad}
spec:
  hosts: [bad.example]
  gateways: [edge]
  http: [{directResponse: {status: 200, body: {string: "POISON"}}}]
"""


def test_validate_names_the_document_that_envoy_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, folder = tmp_path / "envoy", tmp_path / "mesh"
    program.write_text(FAKE)
    program.chmod(0o755)
    folder.mkdir()
    (folder / "all.yaml").write_text(TEXT)
    monkeypatch.setenv("LEGATION_ENVOY", str(program))
    assert CliRunner().invoke(main, ["validate", str(folder)]).exit_code == 0
    result = CliRunner().invoke(main, ["validate", "--envoy", "-o", "json", str(folder)])
    (problem,) = json.loads(result.stdout)["problems"]
    assert result.exit_code == 1
    assert (problem["code"], problem["object"], problem["line"]) == ("LEG0601", "VirtualService default/bad", 12)
    assert problem["file"] == str(folder / "all.yaml")
    assert problem["message"].endswith("POISON is refused")
    assert str(tmp_path / "bootstrap") not in result.stdout


def test_without_an_envoy_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "all.yaml").write_text(TEXT)
    monkeypatch.setenv("LEGATION_ENVOY", str(tmp_path / "none"))
    with pytest.raises(EnvoyMissing):
        verdict(static.bootstrap(Snapshot()))
    result = CliRunner().invoke(main, ["validate", "--envoy", str(tmp_path)])
    assert result.exit_code == 1
    assert "LEGATION_ENVOY" in result.stderr


@pytest.mark.envoy
def test_the_real_envoy_takes_it_or_says_why(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(TEXT)
    assert CliRunner().invoke(main, ["validate", "--envoy", str(tmp_path)]).exit_code == 0
    made = static.bootstrap(pipeline.compile(tree({"f.yaml": TEXT}), proxy({"role": "gateway"})).snapshot)
    made["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] = 70000
    assert "PortValue: value must be less than or equal to 65535" in verdict(made)
