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
    return {
        "static_resources": {
            "listeners": [listener(snapshot, name) for name in sorted(snapshot.of(names.LISTENER))],
            "clusters": [cluster(snapshot, name) for name in sorted(snapshot.of(names.CLUSTER))],
        },
        "layered_runtime": _RUNTIME,
    }


_RUNTIME = {"layers": [{"name": "legation", "static_layer": {"re2.max_program_size.error_level": MAX_PROGRAM}}]}
"""What Envoys that start from our bootstrap have too."""


def listener(snapshot: Snapshot, name: str) -> dict[str, Any]:
    """A listener with its routes inside. A table that is not there is an empty one: Envoy answers 404."""
    made = printed.message(snapshot.of(names.LISTENER)[name])
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
    made = printed.message(snapshot.of(names.CLUSTER)[name])
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
        clusters += ({**made, "name": f"{number}/{made['name']}"} for made in one["static_resources"]["clusters"])
    return {"static_resources": {"listeners": listeners, "clusters": clusters}, "layered_runtime": _RUNTIME}
