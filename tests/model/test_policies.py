"""Which settings count for a port and a subset: the algebra of DestinationRule, case by case."""

from __future__ import annotations

from typing import Any

import pytest
from legation.model.destination_rule import TrafficPolicy
from legation.model.policies import Policy, effective

PORT = 80
BLOCKS: dict[str, Any] = {
    "loadBalancer": {"simple": "RANDOM"},
    "connectionPool": {"tcp": {"maxConnections": 1}},
    "outlierDetection": {"consecutive5xxErrors": 1},
    "tls": {"mode": "SIMPLE"},
    "tunnel": {"targetHost": "a.b", "targetPort": 1},
    "proxyProtocol": {"version": "V2"},
    "retryBudget": {"percent": 1},
}
OTHER: dict[str, Any] = {
    "loadBalancer": {"simple": "ROUND_ROBIN"},
    "connectionPool": {"http": {"maxRetries": 2}},
    "outlierDetection": {"consecutiveGatewayErrors": 2},
    "tls": {"mode": "DISABLE"},
    "tunnel": {"targetHost": "c.d", "targetPort": 2},
    "proxyProtocol": {"version": "V1"},
    "retryBudget": {"percent": 2},
}
OF_PORTS = ("loadBalancer", "connectionPool", "outlierDetection", "tls")
OF_SERVICES = ("tunnel", "proxyProtocol", "retryBudget")
FIELDS = {
    "loadBalancer": "load_balancer", "connectionPool": "connection_pool", "outlierDetection": "outlier_detection",
    "tls": "tls", "tunnel": "tunnel", "proxyProtocol": "proxy_protocol", "retryBudget": "retry_budget",
}  # fmt: skip


def policy(*blocks: str, of: dict[str, Any] = BLOCKS, port: tuple[str, ...] | None = None, number: int = PORT) -> Any:
    """A policy with some blocks, and perhaps an entry with some for a port."""
    written: dict[str, Any] = {block: of[block] for block in blocks}
    if port is not None:
        entry = {"port": {"number": number}, **{block: of[block] for block in port}}
        written["portLevelSettings"] = [entry, {"port": {"number": number}, "tls": {"mode": "MUTUAL"}}]
    return TrafficPolicy.model_validate(written, by_alias=True, by_name=False)


def seen(found: Policy) -> dict[str, str]:
    """Whose each block is: the service's, or the subset's."""

    def model(of: dict[str, Any], block: str) -> Any:
        return getattr(TrafficPolicy.model_validate({block: of[block]}, by_alias=True, by_name=False), FIELDS[block])

    whose = {}
    for block, field in FIELDS.items():
        value = getattr(found, field)
        if value is not None:
            whose[block] = "service" if value == model(BLOCKS, block) else "subset"
            assert value in (model(BLOCKS, block), model(OTHER, block))
    return whose


def of(who: str, *blocks: str) -> dict[str, str]:
    return dict.fromkeys(blocks, who)


CASES = {
    "nothing": (None, None, {}),
    "the service's": (policy(*BLOCKS), None, of("service", *BLOCKS)),
    "the port's alone": (policy(*BLOCKS, port=("tls",)), None, of("service", "tls")),
    "another port's": (policy("tls", port=("loadBalancer",), number=81), None, of("service", "tls")),
    "the port's without a policy around": (policy(port=OF_PORTS), None, of("service", *OF_PORTS)),
    "the subset's": (None, policy(*BLOCKS, of=OTHER), of("subset", *BLOCKS)),
    "the subset's over the service's": (
        policy(*BLOCKS),
        policy("loadBalancer", "retryBudget", of=OTHER),
        of("service", *BLOCKS) | of("subset", "loadBalancer", "retryBudget"),
    ),
    "the subset's over the port's": (
        policy(*BLOCKS, port=("loadBalancer", "tls")),
        policy("tls", "tunnel", of=OTHER),
        of("service", "loadBalancer") | of("subset", "tls", "tunnel"),
    ),
    "the subset's port's over the service's": (
        policy(*BLOCKS),
        policy("tls", "tunnel", of=OTHER, port=("loadBalancer",)),
        of("service", *OF_SERVICES) | of("subset", "loadBalancer"),
    ),
    "the subset's port's over the service's port's": (
        policy(*BLOCKS, port=OF_PORTS),
        policy(of=OTHER, port=("outlierDetection",)),
        of("subset", "outlierDetection"),
    ),
    "the subset's other port's": (
        policy("tls", "loadBalancer"),
        policy("loadBalancer", of=OTHER, port=("connectionPool",), number=81),
        of("service", "tls") | of("subset", "loadBalancer"),
    ),
}


@pytest.mark.parametrize(("of_service", "of_subset", "wanted"), CASES.values(), ids=list(CASES))
def test_what_counts(of_service: Any, of_subset: Any, wanted: dict[str, str]) -> None:
    assert seen(effective(of_service, of_subset, PORT)) == wanted


def test_a_block_is_never_mixed() -> None:
    found = effective(policy("connectionPool"), policy("connectionPool", of=OTHER), PORT).connection_pool
    assert found is not None
    assert found.tcp is None
    assert found.http is not None
