"""The JSON Schema of every kind says what the models say, in a form that editors take."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from legation.ingest.kinds import KINDS, Kind
from legation.ingest.marks import descend, plan
from legation.ingest.schema import DIALECT, names, schema


def parts(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside a schema."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from parts(item)
    elif isinstance(value, list):
        for item in value:
            yield from parts(item)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.identity)
def test_it_is_whole(kind: Kind) -> None:
    made = schema(kind.identity)
    assert json.loads(json.dumps(made)) == made
    assert made["$schema"] == DIALECT
    assert made["properties"]["kind"] == {"const": kind.name}
    assert kind.api_version in made["properties"]["apiVersion"]["enum"]
    assert {"apiVersion", "kind", "metadata"} <= set(made["required"])
    for part in parts(made):
        if isinstance(reference := part.get("$ref"), str):
            assert reference.removeprefix("#/$defs/") in made["$defs"]
        if isinstance(pattern := part.get("pattern"), str):
            re.compile(pattern)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.model], ids=lambda kind: kind.identity)
def test_every_field_is_there_with_its_words(kind: Kind) -> None:
    made = schema(kind.identity)
    assert kind.model is not None
    root = made if kind.beside else made["properties"]["spec"]
    for model in descend(kind.model):
        own = root if model is kind.model else made["$defs"][model.__name__]
        for alias in plan(model).parts:
            if not (kind.beside and alias == "status"):
                assert own["properties"][alias].get("description"), (model, alias)
        if plan(model).strict:
            assert own["additionalProperties"] is False


def test_what_people_complete() -> None:
    made = schema("VirtualService")
    route = made["$defs"]["HTTPRoute"]["properties"]
    assert re.search(route["timeout"]["pattern"], "5m30s")
    assert not re.search(route["timeout"]["pattern"], "5")
    server = schema("Gateway")["$defs"]["Server"]["properties"]
    assert server["defaultEndpoint"]["description"].startswith("(Not supported yet.)")
    port = schema("Service")["$defs"]["ServicePort"]["properties"]["nodePort"]
    assert port["description"].startswith("(No effect: Kubernetes' own business.)")
    entry = schema("ServiceEntry")["properties"]["spec"]["properties"]["resolution"]
    assert entry["description"].endswith(
        "(Not supported yet: NONE at gateways and beside workloads without redirection.)"
    )
    assert made["$defs"]["HTTPRoute"]["properties"]["mirrorPercent"]["deprecated"] is True
    assert {"not": {"required": ["redirect", "route"]}} in made["$defs"]["HTTPRoute"]["allOf"]
    assert made["$defs"]["HTTPRouteDestination"]["required"] == ["destination"]
    assert made["$defs"]["FaultAbort"]["properties"]["grpcStatus"]["enum"][0] == "OK"
    simple = schema("DestinationRule")["$defs"]["LoadBalancerSettings"]["properties"]["simple"]
    assert "ROUND_ROBIN" in simple["enum"]


def test_nobody_is_offered_null() -> None:
    for name in names():
        for part in parts(schema(name)):
            assert part.get("type") != "null" or part.get("description") is None
            assert not (isinstance(part.get("description"), str) and {"type": "null"} in part.get("anyOf", ()))


def test_a_kind_that_is_not_known() -> None:
    with pytest.raises(KeyError):
        schema("Zebra")


def test_the_two_gateways() -> None:
    assert "servers" in schema("Gateway")["properties"]["spec"]["properties"]
    assert "spec" not in schema("Gateway.gateway.networking.k8s.io")["properties"]
