"""What holds for the whole mesh holds at once, from whichever place it is written in, and a typo in it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from .mesh import Mesh, document, eventually, free_port, gateway, rule, service, yaml

pytestmark = pytest.mark.envoy


def mesh_config(spec: Mapping[str, Any], name: str = "everywhere") -> dict[str, Any]:
    return {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig", "metadata": {"name": name}, "spec": spec}


async def lines(path: Path) -> list[str]:
    return written(path)


def written(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def test_the_file_of_the_flag_is_watched_and_a_typo_in_it_changes_nothing(mesh: Mesh) -> None:
    log, file = mesh.folder.parent / "requests.log", mesh.folder.parent / "mesh.yaml"

    def save(**content: Any) -> None:
        beside = file.with_name("mesh.new")
        beside.write_text(yaml(content))
        beside.replace(file)

    save(accessLogFile=str(log), accessLogFormat="first %REQ(:PATH)%")
    mesh.write("mesh.yaml", gateway(), service("red", await mesh.stand_in("red")), rule("red", "red"))
    await mesh.serve("--mesh-config", str(file))
    place = (await mesh.gateway()).at()
    await place.workload("red", "/one", "red.example")
    await eventually(lambda: lines(log), lambda found: "first /one" in found)

    since = len(mesh.server.lines)
    save(accessLogFile=str(log), accessLogFromat="second %REQ(:PATH)%")
    await mesh.server.says(rf"{file}:2:1: error: MeshConfig command-line accessLogFromat: unknown field", since)
    await place.workload("red", "/two", "red.example")
    await eventually(lambda: lines(log), lambda found: "first /two" in found)

    save(accessLogFile=str(log), accessLogFormat="third %REQ(:PATH)%")

    async def asked() -> list[str]:
        await place.workload("red", "/three", "red.example")
        return await lines(log)

    await eventually(asked, lambda found: "third /three" in found)


async def test_retries_can_be_turned_off_for_everyone(mesh: Mesh) -> None:
    mesh.write("mesh.yaml", gateway(), service("red", await mesh.stand_in("red"), free_port()), rule("red", "red"))
    await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("red", host="red.example")
    assert set(await place.tally(20, lambda answer: answer.status, host="red.example")) == {200}
    mesh.write("everywhere.yaml", mesh_config({"defaultHttpRetryPolicy": {"attempts": 0}}))
    await place.status(503, host="red.example")
    mesh.write("everywhere.yaml", mesh_config({}))
    await mesh.at_rest(1)


async def test_what_stands_in_front_of_a_gateway_says_who_the_client_is(single: Mesh) -> None:
    single.write("mesh.yaml", gateway(), service("red", await single.stand_in("red")), rule("red", "red"))
    config_map = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": yaml({"defaultConfig": {"gatewayTopology": {"numTrustedProxies": 1}}})},
    }  # fmt: skip
    await single.serve()
    place = (await single.gateway()).at()
    answer = await place.workload("red", host="red.example", X_Forwarded_For="203.0.113.9")
    assert answer.json["headers"].get("x-envoy-external-address") != "203.0.113.9"
    single.write("istio.yaml", config_map)
    await place.answers(
        lambda answer: answer.json["headers"].get("x-envoy-external-address") == "203.0.113.9",
        host="red.example", X_Forwarded_For="203.0.113.9",
    )  # fmt: skip


async def test_slashes_are_merged_before_paths_are_matched(single: Mesh) -> None:
    only = {"match": [{"uri": {"prefix": "/here/"}}], "route": [{"destination": {"host": "red.test"}}]}
    bound = document("VirtualService", "red", {"hosts": ["red.example"], "gateways": ["front"], "http": [only]})
    single.write("mesh.yaml", gateway(), service("red", await single.stand_in("red")), bound)
    await single.serve()
    place = (await single.gateway()).at()
    await place.workload("red", "/here/x", "red.example")
    assert (await place.ask("//here/x", "red.example")).status == 404
    single.write("everywhere.yaml", mesh_config({"pathNormalization": {"normalization": "MERGE_SLASHES"}}))
    await place.workload("red", "//here/x", "red.example")
