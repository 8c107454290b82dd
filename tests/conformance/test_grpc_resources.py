"""What gRPC's own library is sent, in all golden cases (P-04 … P-08): it would refuse anything else, whole tables of it.

That the real library takes it all is shown in tests/e2e/test_grpc_clients.py.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from cases import CASES, Case, compiled
from legation.model.proxy import Client
from legation.names import LISTENER
from legation.render import grpc_clients, printed

of_every_case = pytest.mark.parametrize("case", [one for one in CASES if one.proxy.client is Client.GRPC], ids=str)
TYPES = "type.googleapis.com/envoy.extensions.filters"
MANAGER = f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER, FAULT = f"{TYPES}.http.router.v3.Router", f"{TYPES}.http.fault.v3.HTTPFault"


def listed(case: Case, table: str) -> list[dict[str, Any]]:
    return case.tables(compiled(case).snapshot)[table]


def stands_in(name: str) -> dict[str, Any]:
    made = grpc_clients.stand_in(LISTENER, name)
    assert made is not None
    assert made.name == name
    return dict(printed.message(made))


def managers(case: Case) -> list[dict[str, Any]]:
    return [listener["api_listener"]["api_listener"] for listener in listed(case, "listeners")]


@of_every_case
def test_P_04_a_clients_listener_is_an_api_listener_of_a_table_that_is_there(case: Case) -> None:
    tables = {table["name"] for table in listed(case, "routes")}
    for listener in listed(case, "listeners"):
        assert listener.keys() == {"name", "api_listener"}
        manager = listener["api_listener"]["api_listener"]
        assert manager["@type"] == MANAGER
        assert manager["rds"]["route_config_name"] in tables
        assert manager["rds"]["config_source"]["ads"] == {}


@pytest.mark.parametrize("before", ["xds.istio.io/grpc/lds/inbound/", "grpc/server?xds.resource.listening_address="])
@pytest.mark.parametrize(
    ("written", "address"), [("0.0.0.0:9000", "0.0.0.0"), ("[::1]:9000", "::1"), ("[::]:9000", "::")]
)
def test_P_04_a_servers_listener_has_its_address_and_one_manager(before: str, written: str, address: str) -> None:
    made = stands_in(before + written)
    assert made["address"] == {"socket_address": {"address": address, "port_value": 9000}}
    (chain,) = made["filter_chains"]
    (only,) = chain["filters"]
    manager = only["typed_config"]
    assert manager["@type"] == MANAGER
    assert [one["typed_config"]["@type"] for one in manager["http_filters"]] == [ROUTER]
    (host,) = manager["route_config"]["virtual_hosts"]
    assert host["routes"] == [{"match": {"prefix": "/"}, "non_forwarding_action": {}}]


@pytest.mark.parametrize(
    "name", ["ghost:80", "grpc/server?xds.resource.listening_address=here", "xds.istio.io/grpc/lds/inbound/", ""]
)
def test_P_04_who_asks_for_anything_else_is_told_that_nothing_is_routed(name: str) -> None:
    manager = stands_in(name)["api_listener"]["api_listener"]
    assert not manager["route_config"].get("virtual_hosts")
    assert manager["http_filters"][-1]["typed_config"]["@type"] == ROUTER


@of_every_case
def test_P_05_filters_are_known_and_the_router_is_the_last(case: Case) -> None:
    for manager in managers(case):
        filters = manager["http_filters"]
        assert [one["typed_config"]["@type"] for one in filters] == [FAULT, ROUTER]
        assert len({one["name"] for one in filters}) == 2


@of_every_case
def test_P_06_routes_say_how_they_match_and_where_they_go(case: Case) -> None:
    for table in listed(case, "routes"):
        (host,) = table["virtual_hosts"]
        for route in host["routes"]:
            assert len(route["match"].keys() & {"prefix", "path", "safe_regex"}) == 1
            assert "query_parameters" not in route["match"]
            assert len(route.keys() & {"route", "non_forwarding_action"}) == 1
            assert route.keys() <= {"name", "match", "route", "non_forwarding_action", "typed_per_filter_config"}
            assert route.get("typed_per_filter_config", {}).keys() <= {"envoy.filters.http.fault"}
            action = route.get("route", {"cluster": ""})
            assert len(action.keys() & {"cluster", "weighted_clusters"}) == 1
            assert all(entry["weight"] > 0 for entry in action.get("weighted_clusters", {}).get("clusters", ()))
            assert action.get("retry_policy", {}).get("num_retries", 1) > 0


@of_every_case
def test_P_07_clusters_say_no_more_than_is_known(case: Case) -> None:
    known = {
        "name", "type", "eds_cluster_config", "lb_policy", "circuit_breakers", "load_balancing_policy", "ring_hash_lb_config",
        "load_assignment", "cluster_type",
    }  # fmt: skip
    clusters = {cluster["name"]: cluster for cluster in listed(case, "clusters")}
    for cluster in clusters.values():
        assert cluster.keys() <= known
        assert cluster.get("lb_policy", "ROUND_ROBIN") in ("ROUND_ROBIN", "RING_HASH")
        match cluster.get("type"):
            case "EDS":
                assert cluster["eds_cluster_config"]["eds_config"]["ads"] == {}
            case "LOGICAL_DNS":
                (group,) = cluster["load_assignment"]["endpoints"]
                assert len(group["lb_endpoints"]) == 1
            case None:
                assert clusters.keys() >= set(cluster["cluster_type"]["typed_config"]["clusters"])
    told = {cluster["name"] for cluster in clusters.values() if cluster.get("type") == "EDS"}
    assert told == {assignment["cluster_name"] for assignment in listed(case, "endpoints")}
    for table in listed(case, "routes"):
        for action in (
            route["route"] for host in table["virtual_hosts"] for route in host["routes"] if "route" in route
        ):
            entries = action.get("weighted_clusters", {}).get("clusters", ({"name": action.get("cluster")},))
            assert all(entry["name"] in clusters for entry in entries), "it would wait for it for fifteen seconds"


@of_every_case
def test_P_08_localities_have_weights_and_addresses_are_addresses(case: Case) -> None:
    for assignment in listed(case, "endpoints"):
        groups = assignment.get("endpoints", [])
        priorities = [group.get("priority", 0) for group in groups]
        assert set(priorities) == set(range(len(set(priorities))))
        places = [(group.get("priority", 0), str(group.get("locality"))) for group in groups]
        assert len(places) == len(set(places))
        for priority in priorities:
            weights = [one["load_balancing_weight"] for one in groups if one.get("priority", 0) == priority]
            assert min(weights) > 0
            assert sum(weights) < 1 << 32
        found = [
            (endpoint["endpoint"]["address"]["socket_address"], endpoint["load_balancing_weight"])
            for group in groups
            for endpoint in group["lb_endpoints"]
        ]
        assert all(ip_address(address["address"]) and weight > 0 for address, weight in found)
        assert len({(address["address"], address["port_value"]) for address, _ in found}) == len(found)
