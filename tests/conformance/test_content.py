"""What all resources must be (R-…, V-01, O-08, W-09), looked up in everything that the golden cases and the stories make."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml
from cases import CASES, STORIES, compiled, story
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from google.protobuf import any_pb2, symbol_database
from google.protobuf.message import Message
from legation.bootstrap import Options, bootstrap
from legation.model.proxy import Role
from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE
from legation.snapshot.snapshot import Snapshot

EVERYTHING = {str(case): compiled(case).snapshot for case in CASES} | {
    f"{path.name} as a {role}": story(path, role).snapshot for path in STORIES for role in ("gateway", "sidecar")
}
KINDS = {
    LISTENER: listener_pb2.Listener, CLUSTER: cluster_pb2.Cluster, ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    ROUTE: route_pb2.RouteConfiguration,
}  # fmt: skip
each = pytest.mark.parametrize("snapshot", EVERYTHING.values(), ids=EVERYTHING.keys())


def messages(snapshot: Snapshot, type_url: str) -> Iterator[tuple[str, Message]]:
    """The resources of a type, by name."""
    for name, found in snapshot.of(type_url).items():
        yield name, KINDS[type_url].FromString(any_pb2.Any.FromString(found.body).value)


def within(message: Message) -> Iterator[Message]:
    """A message and all that is in it, packed or not."""
    yield message
    if isinstance(message, any_pb2.Any):
        if message.type_url:
            yield from within(symbol_database.Default().GetSymbol(message.TypeName()).FromString(message.value))
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            values = value.values() if field.message_type.fields_by_name["value"].message_type else ()
        else:
            values = value if field.is_repeated else (value,)
        for inner in values:
            yield from within(inner)


@each
def test_O_08_P_01_where_a_client_is_told_to_ask_is_always_the_same(snapshot: Snapshot) -> None:
    """On this stream; in one of two forms, by whether it may wait for ever."""
    found = {
        part.SerializeToString(deterministic=True)
        for table in snapshot.resources.values()
        for resource in table.values()
        for part in within(any_pb2.Any.FromString(resource.body))
        if isinstance(part, config_source_pb2.ConfigSource)
    }
    SOURCES.update(found)
    for source in found:
        assert config_source_pb2.ConfigSource.FromString(source).WhichOneof("config_source_specifier") == "ads"
    assert len(SOURCES) <= 2


SOURCES: set[bytes] = set()
"""All that there were."""


@each
def test_R_LDS_1_two_listeners_never_share_an_address(snapshot: Snapshot) -> None:
    """Envoy would refuse one of them."""
    addresses: Counter[tuple[str, int]] = Counter()
    for name, listener in messages(snapshot, LISTENER):
        assert listener.name == name
        for address in (listener.address, *(more.address for more in listener.additional_addresses)):
            if address.HasField("socket_address"):
                addresses[address.socket_address.address, address.socket_address.port_value] += 1
    assert not [address for address, count in addresses.items() if count > 1]


STATIC = {
    one["name"]
    for role in Role
    for one in yaml.safe_load(bootstrap(Options(role, "n")))["static_resources"]["clusters"]
}


@each
def test_R_CDS_1_no_cluster_is_called_as_one_of_the_bootstrap(snapshot: Snapshot) -> None:
    """It could not be changed."""
    names = [cluster.name for _, cluster in messages(snapshot, CLUSTER)]
    assert len(names) == len(set(names))
    assert STATIC
    assert STATIC.isdisjoint(names)


@each
def test_R_EDS_1_every_cluster_finds_its_load_assignment(snapshot: Snapshot) -> None:
    """Under the name that it asks for."""
    asked = {
        cluster.eds_cluster_config.service_name or cluster.name
        for _, cluster in messages(snapshot, CLUSTER)
        if cluster.type == cluster_pb2.Cluster.EDS
    }
    found = dict(messages(snapshot, ENDPOINT))
    assert asked <= found.keys()
    assert all(assignment.cluster_name == name for name, assignment in found.items())


@each
def test_R_EDS_2_weights_priorities_and_localities_are_right(snapshot: Snapshot) -> None:
    """In clusters that carry their endpoints themselves too."""
    inline = [
        cluster.load_assignment for _, cluster in messages(snapshot, CLUSTER) if cluster.HasField("load_assignment")
    ]
    for assignment in (*(one for _, one in messages(snapshot, ENDPOINT)), *inline):
        groups = assignment.endpoints
        weights = [group.load_balancing_weight.value for group in groups if group.HasField("load_balancing_weight")]
        weights += [
            one.load_balancing_weight.value
            for group in groups
            for one in group.lb_endpoints
            if one.HasField("load_balancing_weight")
        ]
        assert all(weight >= 1 for weight in weights)
        assert {group.priority for group in groups} in ({*range(len({group.priority for group in groups}))},)
        places = Counter((group.priority, group.locality.SerializeToString()) for group in groups)
        assert all(count == 1 for count in places.values()), "no locality twice in a priority"
        addresses = Counter(one.endpoint.address.SerializeToString() for group in groups for one in group.lb_endpoints)
        assert all(count == 1 for count in addresses.values()), "no address twice"


@each
def test_R_RDS_1_no_domain_is_there_twice(snapshot: Snapshot) -> None:
    """Envoy would refuse the whole table; it compares small letters."""
    for name, table in messages(snapshot, ROUTE):
        assert table.name == name
        domains = Counter(domain.lower() for host in table.virtual_hosts for domain in host.domains)
        assert all(count == 1 for count in domains.values())


@each
def test_W_09_nothing_is_called_star(snapshot: Snapshot) -> None:
    """It would mean everything."""
    assert not [url for url, table in snapshot.resources.items() if {"*", ""} & table.keys()]


VERSIONS = """
import sys
from pathlib import Path
from cases import STORIES, story
from legation.snapshot import order
for path in STORIES:
    for role in ("gateway", "sidecar"):
        made = story(path, role).snapshot
        print(path.name, role, *(made.version(row.type_url) for row in order.ORDER))
"""


def test_V_01_another_process_makes_the_same_bytes() -> None:
    """Whatever order its sets have."""

    def versions(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
        command = [sys.executable, "-c", VERSIONS]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    first = versions("1")
    assert first.count("\n") == 2 * len(STORIES)
    assert first == versions("2")
