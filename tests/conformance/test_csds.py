"""The client status discovery service on a real server (C-01 … C-06)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.status.v3 import csds_pb2
from google.protobuf import any_pb2, json_format
from google.protobuf.message import Message
from legation.names import CLUSTER, SECRET
from legation.snapshot.snapshot import Resource, resource
from legation.transport import csds
from legation.transport.access import Access
from legation.transport.csds import ClientStatus, Inventory
from transport.wire import DELTA, PATIENCE, STREAM, Desk, Wire, serving

SERVICE = "/envoy.service.status.v3.ClientStatusDiscoveryService"
KEY = "-----BEGIN PRIVATE KEY-----"
both = pytest.mark.parametrize("method", [STREAM, DELTA])


class Office(Desk):
    """A Desk that can be asked who has what."""

    @property
    def streams(self) -> range:
        return range(len(self.sessions))

    def proxy(self, stream: int) -> Any:
        return self.sessions[stream].proxy

    def inventory(self, stream: int) -> Inventory:
        session = self.sessions[stream]
        return Inventory(session.proxy, session.inventory(), lambda type_url, name: 1_700_000_000.25)


def made(type_url: str, name: str, message: Message) -> Resource:
    packed = any_pb2.Any()
    packed.Pack(message, deterministic=True)
    return resource(type_url, name, packed.SerializeToString(deterministic=True))


def cluster(name: str, content: str = "1") -> Resource:
    return made(CLUSTER, name, cluster_pb2.Cluster(name=name, alt_stat_name=content))


def secret(name: str) -> Resource:
    content = {"name": name, "tls_certificate": {"private_key": {"inline_string": KEY}}}
    return made(SECRET, name, json_format.ParseDict(content, secret_pb2.Secret()))


@asynccontextmanager
async def asked(office: Office, permit: Any = None) -> AsyncIterator[tuple[str, grpc.aio.Channel]]:
    status = ClientStatus(office, permit or Access().administrator)
    async with (
        serving(office, handlers=[status.handler], services=status.services) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield address, channel


async def fetch(channel: grpc.aio.Channel, **request: Any) -> list[csds_pb2.ClientConfig]:
    wanted = json_format.ParseDict(request, csds_pb2.ClientStatusRequest())
    raw = await channel.unary_unary(f"{SERVICE}/FetchClientStatus")(wanted.SerializeToString(), timeout=PATIENCE)
    return list(csds_pb2.ClientStatusResponse.FromString(raw).config)


def states(config: csds_pb2.ClientConfig) -> dict[str, str]:
    return {one.name: csds_pb2.ConfigStatus.Name(one.config_status) for one in config.generic_xds_configs}


@pytest.mark.parametrize(
    ("matchers", "found"),
    [
        ([], {"sidecar~1.2.3.4~a.shop~shop.svc", "edge"}),
        ([{"node_id": {"exact": "edge"}}], {"edge"}),
        ([{"node_id": {"prefix": "EDGE", "ignore_case": True}}, {"node_id": {"suffix": "nobody"}}], {"edge"}),
        ([{"node_id": {"safe_regex": {"regex": ".*~a[.].*"}}}], {"sidecar~1.2.3.4~a.shop~shop.svc"}),
        ([{"node_id": {"contains": "x"}}], set[str]()),
        (
            [{"node_metadatas": [{"path": [{"key": "NAMESPACE"}], "value": {"string_match": {"exact": "shop"}}}]}],
            {"sidecar~1.2.3.4~a.shop~shop.svc"},
        ),
        (
            [{"node_metadatas": [{"path": [{"key": "LABELS"}, {"key": "app"}], "value": {"present_match": True}}]}],
            set[str](),
        ),
        (
            [
                {
                    "node_id": {"exact": "edge"},
                    "node_metadatas": [{"path": [{"key": "NAMESPACE"}], "value": {"string_match": {"exact": "shop"}}}],
                }
            ],
            set[str](),
        ),
    ],
)
async def test_C_01_one_of_the_matchers_must_want_a_node(matchers: list[Any], found: set[str]) -> None:
    """Everything in a matcher must hold; without matchers all clients are told, each with its node."""
    async with (
        asked(Office(cluster("a"))) as (address, channel),
        Wire(address, node="sidecar~1.2.3.4~a.shop~shop.svc") as one,
        Wire(address, node="edge") as other,
    ):
        for wire in (one, other):
            await wire.asks(CLUSTER)
            await wire.gets()
        configs = await fetch(channel, node_matchers=matchers)
        assert {config.node.id for config in configs} == found


async def test_C_01_both_methods_are_served() -> None:
    """A stream answers every request, with what is true then."""
    office = Office(cluster("a"))
    async with asked(office) as (address, channel), Wire(address) as wire:
        call = channel.stream_stream(f"{SERVICE}/StreamClientStatus")()
        await call.write(b"")
        assert csds_pb2.ClientStatusResponse.FromString(await call.read()) == csds_pb2.ClientStatusResponse()
        await wire.asks(CLUSTER)
        await wire.gets()
        await call.write(b"")
        response = csds_pb2.ClientStatusResponse.FromString(await call.read())
        assert [states(config) for config in response.config] == [{"a": "STALE"}]
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("matcher", [{"node_id": {"safe_regex": {"regex": "("}}}, {"node_id": {}}])
async def test_C_01_a_matcher_that_cannot_be_understood_is_refused(matcher: dict[str, Any]) -> None:
    """Instead of matching nobody."""
    async with asked(Office()) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fetch(channel, node_matchers=[matcher])
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@both
async def test_C_02_C_03_what_is_sent_and_acknowledged_is_synced(method: str) -> None:
    """What is not acknowledged is stale, what was never sent is not, what is refused is an error, with both versions."""
    office = Office(cluster("a"), cluster("b"))
    async with asked(office) as (address, channel), Wire(address, method) as wire:
        await wire.asks(CLUSTER, "a", "nowhere")
        first = await wire.gets()
        (config,) = await fetch(channel)
        assert states(config) == {"a": "STALE", "nowhere": "STALE" if method == DELTA else "NOT_SENT"}
        await wire.acks(first, "a", "nowhere")
        await office.until(lambda: len(office.words) == 1)
        (config,) = await fetch(channel)
        assert states(config) == {"a": "SYNCED", "nowhere": "NOT_SENT"}
        office.puts(bad := cluster("a", "bad"))
        second = await wire.gets()
        more = {} if method == DELTA else {"version_info": first.version_info}
        names = () if method == DELTA else ("a", "nowhere")
        await wire.asks(CLUSTER, *names, error="no such thing", response_nonce=second.nonce, **more)
        await office.until(lambda: len(office.words) == 2)
        (config,) = await fetch(channel)
        assert states(config) == {"a": "ERROR", "nowhere": "NOT_SENT"}
        (entry,) = (one for one in config.generic_xds_configs if one.name == "a")
        assert (entry.version_info, entry.error_state.version_info) == (cluster("a").version, bad.version)
        assert entry.error_state.details == "no such thing"
        shown, refused = cluster_pb2.Cluster(), cluster_pb2.Cluster()
        assert entry.xds_config.Unpack(shown)
        assert entry.error_state.failed_configuration.Unpack(refused)
        assert (shown.alt_stat_name, refused.alt_stat_name) == ("1", "bad")
        assert not any(one.client_status for one in config.generic_xds_configs)


async def test_C_04_the_form_is_the_generic_one_with_a_status_for_each_resource() -> None:
    """Type, name, version, when it changed, and the resource itself, unless it is not wanted."""
    async with asked(Office(cluster("a"))) as (address, channel), Wire(address) as wire:
        await wire.asks(CLUSTER)
        await wire.gets()
        (config,) = await fetch(channel)
        (entry,) = config.generic_xds_configs
        assert (entry.type_url, entry.name, entry.version_info) == (CLUSTER, "a", cluster("a").version)
        assert entry.last_updated.ToMilliseconds() == 1_700_000_000_250
        assert entry.xds_config.type_url == CLUSTER
        assert not config.xds_config
        (config,) = await fetch(channel, exclude_resource_contents=True)
        (entry,) = config.generic_xds_configs
        assert (entry.version_info, entry.HasField("xds_config")) == (cluster("a").version, False)


async def test_C_06_keys_are_not_told() -> None:
    """What carries them is, without them; what cannot be read and cleaned is told of, but not shown."""
    unreadable = resource(
        SECRET, "odd", any_pb2.Any(type_url=SECRET, value=b"\x0a\xff" + KEY.encode()).SerializeToString()
    )
    async with asked(Office(secret("cert"), unreadable)) as (address, channel), Wire(address, DELTA) as wire:
        await wire.asks(SECRET, "cert", "odd")
        await wire.gets()
        (config,) = await fetch(channel)
        assert states(config) == {"cert": "STALE", "odd": "STALE"}
        assert KEY.encode() not in config.SerializeToString()
        cert, odd = config.generic_xds_configs
        shown = secret_pb2.Secret()
        assert cert.xds_config.Unpack(shown)
        assert shown.tls_certificate.private_key.inline_string == "[redacted]"
        assert not odd.xds_config.value


async def test_C_06_a_large_answer_comes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client's too; what must be one answer is refused with words on what to do."""
    monkeypatch.setattr(csds, "PORTION", 2000)
    monkeypatch.setattr(csds, "MOST", 5000)
    every = [cluster(f"c{number:03}") for number in range(250)]
    async with asked(Office(*every)) as (address, channel), Wire(address) as wire:
        await wire.asks(CLUSTER)
        await wire.gets()
        call = channel.stream_stream(f"{SERVICE}/StreamClientStatus")()
        await call.write(b"")
        await call.done_writing()
        found: list[str] = []
        parts = 0
        while (raw := await call.read()) is not grpc.aio.EOF:
            assert len(raw) < 4000
            parts += 1
            for config in csds_pb2.ClientStatusResponse.FromString(raw).config:
                assert config.node.id == "gateway-1"
                found += states(config)
        assert found == [one.name for one in every]
        assert parts > 10
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fetch(channel)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "exclude_resource_contents" in caught.value.details()


async def test_C_06_whoever_may_not_is_not_told() -> None:
    """By either method."""

    def nobody(_: object) -> None:
        raise PermissionError("not you")

    async with asked(Office(), nobody) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fetch(channel)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        call = channel.stream_stream(f"{SERVICE}/StreamClientStatus")()
        await call.write(b"")
        assert (await call.code(), await call.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not you")
