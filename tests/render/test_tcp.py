"""What of a DestinationRule the TCP proxy does itself."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from google.protobuf import json_format
from legation.model.destination_rule import TrafficPolicy
from legation.model.policies import effective
from legation.render.features import tcp

CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"loadBalancer": {"simple": "RANDOM"}}, {}),
    (
        {"tunnel": {"targetHost": "far.example", "targetPort": 443}},
        {"tunneling_config": {"hostname": "far.example:443"}},
    ),
    (
        {"tunnel": {"protocol": "POST", "targetHost": "2001:db8::1", "targetPort": 443}},
        {"tunneling_config": {"hostname": "[2001:db8::1]:443", "use_post": True}},
    ),
    ({"loadBalancer": {"consistentHash": {"useSourceIp": True}}}, {"hash_policy": [{"source_ip": {}}]}),
    ({"loadBalancer": {"consistentHash": {"httpHeaderName": "x"}}}, {}),
    (
        {"connectionPool": {"tcp": {"idleTimeout": "0s", "maxConnectionDuration": "1m"}}},
        {"idle_timeout": "0s", "max_downstream_connection_duration": "60s"},
    ),
]


@pytest.mark.parametrize(("policy", "wanted"), CASES)
def test_what_the_proxy_does(policy: dict[str, Any], wanted: dict[str, Any]) -> None:
    made = tcp_proxy_pb2.TcpProxy()
    tcp.apply(made, effective(TrafficPolicy.model_validate(policy, by_alias=True, by_name=False), None, 80))
    assert json_format.MessageToDict(made, preserving_proto_field_name=True) == wanted
