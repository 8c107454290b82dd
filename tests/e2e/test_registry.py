"""Where requests really go: every way in which a service's endpoints are found, through real Envoys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from .mesh import Mesh, document, gateway

pytestmark = pytest.mark.envoy


def entry(name: str, host: str, port: int, spec: Mapping[str, Any]) -> dict[str, Any]:
    ports = [{"number": port, "name": "http", "protocol": "HTTP"}]
    return document("ServiceEntry", name, {"hosts": [host], "ports": ports, **spec})


def routes(*to: str) -> dict[str, Any]:
    """Paths that begin with a number go to the host of that number."""
    rules = [
        {"match": [{"uri": {"prefix": f"/{number}"}}], "route": [{"destination": {"host": host}}]}
        for number, host in enumerate(to)
    ]
    return document("VirtualService", "ways", {"hosts": ["*"], "gateways": ["front"], "http": rules})


async def test_names_are_looked_up_all_addresses_one_at_a_time_or_by_the_host_of_the_request(mesh: Mesh) -> None:
    red, blue, green = [await mesh.stand_in(name) for name in ("red", "blue", "green")]
    named = {"endpoints": [{"address": "localhost", "ports": {"http": red}}]}
    single = {"endpoints": [{"address": "localhost", "ports": {"http": blue}}]}
    mesh.write(
        "mesh.yaml",
        gateway(),
        routes("all.test", "one.test", "*.localhost", "nick", "far"),
        entry("all", "all.test", 80, {"resolution": "DNS", **named}),
        entry("one", "one.test", 80, {"resolution": "DNS_ROUND_ROBIN", **single}),
        entry("any", "*.localhost", 80, {"resolution": "DYNAMIC_DNS"}),
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "nick"},
            "spec": {"type": "ExternalName", "externalName": "one.test"},
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "far"},
            "spec": {
                "type": "ExternalName", "externalName": "localhost",
                "ports": [{"name": "http", "port": 80, "targetPort": green}],
            },
        },
    )  # fmt: skip
    await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("red", "/0", "x.example")
    await place.workload("blue", "/1", "x.example")
    await place.workload("green", "/2", f"any.localhost:{green}")
    await place.workload("red", "/2", f"other.localhost:{red}")
    await place.workload("blue", "/3", "x.example")
    await place.workload("green", "/4", "x.example")


async def test_how_endpoints_are_found_may_change_while_it_is_asked(mesh: Mesh) -> None:
    red, blue = await mesh.stand_in("red"), await mesh.stand_in("blue")
    mesh.write("mesh.yaml", gateway(), routes("one.test"))

    def point(address: str, port: int, resolution: str) -> None:
        endpoints = [{"address": address, "ports": {"http": port}}]
        mesh.write("one.yaml", entry("one", "one.test", 80, {"resolution": resolution, "endpoints": endpoints}))

    point("127.0.0.1", red, "STATIC")
    await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("red", "/0", "x.example")
    point("localhost", blue, "DNS_ROUND_ROBIN")
    await place.workload("blue", "/0", "x.example")
    point("localhost", red, "DNS")
    await place.workload("red", "/0", "x.example")
    point("127.0.0.1", blue, "STATIC")
    await place.workload("blue", "/0", "x.example")
    await mesh.at_rest(1)
