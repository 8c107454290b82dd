"""A Snapshot as one static Envoy configuration: the same listeners, routes, clusters and endpoints, and no server.

What refers to xDS is replaced by what xDS would have sent. Envoy's `--mode validate` looks at all of it, and it can be
run as it is. Envoy: envoy.config.bootstrap.v3.Bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from legation import names
from legation.model.values import MAX_PROGRAM
from legation.render import printed
from legation.snapshot.snapshot import Snapshot

_MANAGER = names.TYPE_PREFIX + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def bootstrap(snapshot: Snapshot) -> dict[str, Any]:
    """The configuration, ready to be written as YAML or JSON, without an admin interface."""
    return _configuration(
        [listener(snapshot, name) for name in sorted(snapshot.of(names.LISTENER))],
        [cluster(snapshot, name) for name in sorted(snapshot.of(names.CLUSTER))],
    )


def _configuration(listeners: list[dict[str, Any]], clusters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "node": _NODE,
        "static_resources": {"listeners": listeners, "clusters": [*clusters, _NOBODY]},
        "layered_runtime": _RUNTIME,
    }


_NODE = {"id": "static", "cluster": "static"}
"""Envoy wants a name of its own before it asks anybody for a secret."""
_NOBODY = {"name": "legation-nobody", "type": "STATIC", "load_assignment": {"cluster_name": "legation-nobody"}}
"""Whom it asks: keys never stand in here."""
_ASKS_NOBODY = {
    "api_config_source": {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": _NOBODY["name"]}}],
    },
    "resource_api_version": "V3",
}
"""Where secrets would come from. With `ads` Envoy 1.40 dies of a null pointer here, with and without an ADS server."""


def _without_secrets(made: Any) -> Any:
    """The same, with secrets that nobody sends."""
    if isinstance(made, dict):
        return {key: _ASKS_NOBODY if key == "sds_config" else _without_secrets(value) for key, value in made.items()}
    return [_without_secrets(value) for value in made] if isinstance(made, list) else made


_RUNTIME = {"layers": [{"name": "legation", "static_layer": {"re2.max_program_size.error_level": MAX_PROGRAM}}]}
"""What Envoys that start from our bootstrap have too."""


def listener(snapshot: Snapshot, name: str) -> dict[str, Any]:
    """A listener with its routes inside. A table that is not there is an empty one: Envoy answers 404."""
    made: dict[str, Any] = _without_secrets(printed.message(snapshot.of(names.LISTENER)[name]))
    chains = [
        *made.get("filter_chains", ()),
        *([made["default_filter_chain"]] if "default_filter_chain" in made else ()),
    ]
    for chain in chains:
        for network_filter in chain.get("filters", ()):
            config = network_filter.get("typed_config", {})
            if config.get("@type") == _MANAGER and "rds" in config:
                config["route_config"] = _routes(snapshot, config.pop("rds")["route_config_name"])
    return made


def cluster(snapshot: Snapshot, name: str) -> dict[str, Any]:
    """A cluster with its endpoints inside."""
    made: dict[str, Any] = _without_secrets(printed.message(snapshot.of(names.CLUSTER)[name]))
    if made.get("type") == "EDS":
        asked = made.pop("eds_cluster_config", {}).get("service_name") or name
        found = snapshot.of(names.ENDPOINT).get(asked)
        made["type"] = "STATIC"
        made["load_assignment"] = printed.message(found) if found is not None else {"cluster_name": asked}
    return made


def _routes(snapshot: Snapshot, name: str) -> dict[str, Any]:
    found = snapshot.of(names.ROUTE).get(name)
    return printed.message(found) if found is not None else {"name": name}


def together(many: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Several configurations as one, so that Envoy looks at all of them in one start: their names and ports are made
    different. It says whether they are accepted, and is not for running.
    """
    listeners: list[dict[str, Any]] = []
    clusters: list[dict[str, Any]] = []
    for number, one in enumerate(many):
        for made in one["static_resources"]["listeners"]:
            address = made["address"]
            if "socket_address" in address:
                port = len(listeners) % 65535 + 1
                address = {**address, "socket_address": {**address["socket_address"], "port_value": port}}
            listeners.append({**made, "name": f"{number}/{made['name']}", "address": address})
        own = (made for made in one["static_resources"]["clusters"] if made is not _NOBODY)
        clusters += ({**made, "name": f"{number}/{made['name']}"} for made in own)
    return _configuration(listeners, clusters)
