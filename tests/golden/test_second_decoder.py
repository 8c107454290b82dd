"""Everything that we send, read by a second implementation of protobuf that shares no code with the first.

envoy-data-plane reads the bytes and writes them again; what it has written must mean the same.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import envoy_data_plane
import pytest
from betterproto2 import Message
from cases import CASES, STORIES, compiled, story
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf import any_pb2
from legation import names
from legation.snapshot.snapshot import Resource, Snapshot

FIRST = {
    names.CLUSTER: cluster_pb2.Cluster,
    names.ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    names.LISTENER: listener_pb2.Listener,
    names.ROUTE: route_pb2.RouteConfiguration,
    names.SECRET: secret_pb2.Secret,
}


@cache
def second() -> dict[str, type[Message]]:
    """The same classes of the other implementation, all of whose modules have to be there for what is inside an Any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of pydantic, one for each of thousands of classes
        for module in pkgutil.walk_packages(envoy_data_plane.__path__, "envoy_data_plane."):
            importlib.import_module(module.name)
    from envoy_data_plane.envoy.config.cluster.v3 import Cluster
    from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
    from envoy_data_plane.envoy.config.listener.v3 import Listener
    from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration
    from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import Secret

    return {
        names.CLUSTER: Cluster,
        names.ENDPOINT: ClusterLoadAssignment,
        names.LISTENER: Listener,
        names.ROUTE: RouteConfiguration,
        names.SECRET: Secret,
    }


def every(snapshot: Snapshot) -> Iterator[Resource]:
    for table in snapshot.resources.values():
        yield from table.values()


def check(of: Resource) -> None:
    packed = any_pb2.Any.FromString(of.body)
    assert packed.type_url == of.type_url
    plain: Any = FIRST[of.type_url].FromString(packed.value)
    other = second()[of.type_url].parse(packed.value)
    assert other.to_dict(), "it read nothing"
    again: Any = FIRST[of.type_url].FromString(bytes(other))
    assert again == plain, of.name


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_means_the_same_to_it(case: Any) -> None:
    found = list(every(compiled(case).snapshot))
    assert found
    for of in found:
        check(of)


@pytest.mark.parametrize("role", ["gateway", "sidecar"])
@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.name)
def test_a_story_means_the_same_to_it(path: Any, role: str) -> None:
    for of in every(story(path, role).snapshot):
        check(of)


def test_it_knows_what_is_inside_an_any() -> None:
    """`to_dict` writes what an Any holds only if its type is known; an unknown one would be passed on unread."""
    found = next(iter(story(STORIES[0], "sidecar").snapshot.of(names.LISTENER).values()))
    packed = any_pb2.Any.FromString(found.body)
    listener: Any = second()[names.LISTENER].parse(packed.value)
    manager = listener.filter_chains[0].filters[0].typed_config.unpack()
    assert (names.ROUTE, manager.rds.route_config_name) in found.refs
    assert [one.typed_config.unpack() for one in manager.http_filters]
