"""Two Envoys that serve the same: one that Legation configures, and one that reads its routes from a file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from envoy.config.core.v3 import config_source_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as manager_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2, json_format
from legation import names, pipeline
from legation.bootstrap import Options, bootstrap
from legation.ingest import files
from legation.local.envoy import Envoy
from legation.model.proxy import GATEWAY_LABELS, Role, introduce
from legation.snapshot.snapshot import Snapshot


@asynccontextmanager
async def gateway(xds: str, port_map: dict[int, int]) -> AsyncIterator[Envoy]:
    """An Envoy that a server configures as a gateway."""
    text = bootstrap(Options(Role.GATEWAY, "bench", xds=xds, admin="127.0.0.1:0", port_map=port_map))
    async with await Envoy.start(text) as envoy:
        yield envoy


@asynccontextmanager
async def reading(routes: Path, listener: listener_pb2.Listener) -> AsyncIterator[Envoy]:
    """An Envoy whose one listener takes its routes from a file (`path_config_source`): Envoy's own way, and the floor."""
    (chain,) = listener.filter_chains
    manager = manager_pb2.HttpConnectionManager()
    chain.filters[0].typed_config.Unpack(manager)
    manager.rds.config_source.Clear()
    manager.rds.config_source.path_config_source.path = str(routes)
    manager.rds.config_source.resource_api_version = config_source_pb2.V3
    chain.filters[0].typed_config.Pack(manager)
    content = {
        "node": {"id": "floor", "cluster": "floor"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": [json_format.MessageToDict(listener)]},
    }
    async with await Envoy.start(json.dumps(content)) as envoy:
        yield envoy


def served(directory: Path, port_map: dict[int, int]) -> Snapshot:
    """What the gateway is served, by the compiler alone."""
    tree = files.read_tree([str(directory)])
    labels = {"LABELS": GATEWAY_LABELS, "LEGATION_PORT_MAP": {str(own): real for own, real in port_map.items()}}
    return pipeline.compile(
        tree, introduce("router~127.0.0.1~bench.default~default.svc.cluster.local", labels)
    ).snapshot


def the_listener(snapshot: Snapshot) -> listener_pb2.Listener:
    """The only listener of a Snapshot."""
    ((_, resource),) = snapshot.of(names.LISTENER).items()
    return listener_pb2.Listener.FromString(any_pb2.Any.FromString(resource.body).value)


def the_routes(snapshot: Snapshot) -> route_pb2.RouteConfiguration:
    """The only route configuration of a Snapshot."""
    ((_, resource),) = snapshot.of(names.ROUTE).items()
    return route_pb2.RouteConfiguration.FromString(any_pb2.Any.FromString(resource.body).value)


def as_file(routes: route_pb2.RouteConfiguration, version: int) -> bytes:
    """Routes as Envoy reads them from a file named `*.pb`."""
    response = discovery_pb2.DiscoveryResponse(version_info=str(version))
    response.resources.add().Pack(routes, deterministic=True)
    return response.SerializeToString(deterministic=True)
