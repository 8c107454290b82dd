"""Services, streams and nodes on a real server (T-01 … T-17, N-01 … N-06)."""

from __future__ import annotations

import asyncio
import gc
import weakref

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from legation.model.proxy import Client, Role
from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from legation.transport import ads
from legation.transport.codec import sotw_request
from transport.wire import DELTA, STREAM, Desk, Wire, named, packed, serving

WORLD = [packed(one, "a") for one in (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET)]
PER_TYPE = {
    CLUSTER: ("envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters"),
    ENDPOINT: ("envoy.service.endpoint.v3.EndpointDiscoveryService", "Endpoints"),
    LISTENER: ("envoy.service.listener.v3.ListenerDiscoveryService", "Listeners"),
    ROUTE: ("envoy.service.route.v3.RouteDiscoveryService", "Routes"),
    SECRET: ("envoy.service.secret.v3.SecretDiscoveryService", "Secrets"),
}
both = pytest.mark.parametrize("method", [STREAM, DELTA])


@both
async def test_T_01_T_02_both_aggregated_methods_are_served(method: str) -> None:
    """All types on one stream, in either dialect."""
    async with serving(Desk(*WORLD)) as address, Wire(address, method) as wire:
        for one in WORLD:
            await wire.asks(one.type_url, "a")
            response = await wire.gets()
            assert (response.type_url, named(response)) == (one.type_url, ["a"])
            await wire.acks(response, "a")


@pytest.mark.parametrize("type_url", list(PER_TYPE))
@pytest.mark.parametrize("prefix", ["Stream", "Delta"])
async def test_T_03_T_06_per_type_services(type_url: str, prefix: str) -> None:
    """Each has its type: it may be left out, and no other is served there."""
    service, noun = PER_TYPE[type_url]
    method = f"/{service}/{prefix}{noun}"
    async with serving(Desk(*WORLD)) as address, Wire(address, method) as wire:
        await wire.asks("", "a")
        response = await wire.gets()
        assert (response.type_url, named(response)) == (type_url, ["a"])
        await wire.asks("type.googleapis.com/made.up.Type", "a")
        assert (await wire.ends())[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_T_04_T_05_what_is_not_served_is_unimplemented() -> None:
    """Fetch methods and other services, at once."""
    async with serving(Desk()) as address, grpc.aio.insecure_channel(address) as channel:
        for method in (
            "/envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters",
            "/envoy.service.route.v3.VirtualHostDiscoveryService/DeltaVirtualHosts",
            "/envoy.service.route.v3.VirtualHostDiscoveryService/StreamVirtualHosts",
            "/envoy.service.route.v3.ScopedRoutesDiscoveryService/StreamScopedRoutes",
            "/envoy.service.runtime.v3.RuntimeDiscoveryService/StreamRuntime",
            "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs",
            "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats",
            "/envoy.api.v2.ClusterDiscoveryService/StreamClusters",
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(method)(b"", timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@both
async def test_T_07_an_aggregated_request_must_say_its_type(method: str) -> None:
    """Without it nothing can be answered."""
    async with serving(Desk()) as address, Wire(address, method) as wire:
        await wire.asks("")
        assert (await wire.ends())[0] is grpc.StatusCode.INVALID_ARGUMENT


@both
async def test_T_08_the_type_is_the_same_all_the_way_in(method: str) -> None:
    """In the request, the response, and every Any in it."""
    async with serving(Desk(*WORLD)) as address, Wire(address, method) as wire:
        for one in WORLD:
            await wire.asks(one.type_url, "a")
            response = await wire.gets()
            (inner,) = response.resources
            inner = inner.resource if method == DELTA else inner
            assert {response.type_url, inner.type_url} == {one.type_url}


async def test_T_09_types_do_not_touch_each_other() -> None:
    """A refused route changes nothing for clusters."""
    desk = Desk(packed(CLUSTER, "a"), packed(ROUTE, "r"))
    async with serving(desk) as address, Wire(address) as wire:
        await wire.asks(CLUSTER)
        await wire.acks(await wire.gets())
        await wire.asks(ROUTE, "r")
        routes = await wire.gets()
        await wire.asks(ROUTE, "r", response_nonce=routes.nonce, error="no")
        await desk.until(lambda: len(desk.words) == 2)
        status = desk.sessions[0].status()
        assert status.types["cds"].synced
        assert status.types["rds"].error == "no"


async def test_T_10_T_11_many_streams_of_one_node_live_and_die_alone() -> None:
    """Envoy without ADS opens a stream per cluster; a reconnect may overlap with the stream before."""
    desk = Desk(packed(ENDPOINT, "a"))
    async with serving(desk) as address, Wire(address) as second:
        async with Wire(address) as first:
            for wire in (first, second):
                await wire.asks(ENDPOINT, "a")
                await wire.acks(await wire.gets(), "a")
            assert len(desk.sessions) == 2
            assert first.channel is not second.channel
        await desk.until(lambda: len(desk.sessions) == 1)
        desk.puts(packed(ENDPOINT, "a", "2"))
        assert named(await second.gets()) == ["a"]


async def test_T_12_an_ended_stream_leaves_nothing() -> None:
    """However it ends: tasks, sessions and machines are gone."""
    desk = Desk(packed(CLUSTER, "a"))
    async with serving(desk) as address:
        left: list[weakref.ref[object]] = []
        for number in range(60):
            async with Wire(address, DELTA if number % 2 else STREAM) as wire:
                await wire.asks(CLUSTER)
                await wire.gets()
                left.append(weakref.ref(desk.sessions[-1]))
                if number % 3 == 0:
                    await wire.call.done_writing()
        await desk.until(lambda: not desk.sessions)
        for _ in range(100):
            gc.collect()
            if not any(one() for one in left):
                break
            await asyncio.sleep(0.01)
        assert not any(one() for one in left)
        assert not [task for task in asyncio.all_tasks() if "Conversation" in str(task)]


async def test_T_13_a_planned_end_is_a_retryable_one() -> None:
    """UNAVAILABLE, so that clients come back."""
    desk = Desk(packed(CLUSTER, "a"))
    async with serving(desk) as address:
        wire = Wire(address)
        await wire.asks(CLUSTER)
        await wire.gets()
    assert (await wire.ends())[0] is grpc.StatusCode.UNAVAILABLE
    await wire.channel.close()


async def test_T_14_a_stream_without_a_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while."""
    monkeypatch.setattr(ads, "FIRST_REQUEST", 0.05)
    async with serving(Desk()) as address, Wire(address) as wire:
        assert (await wire.ends())[0] is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_T_15_xds_v2_is_refused() -> None:
    """In words, instead of v3 payloads under v2 names."""
    async with serving(Desk()) as address, Wire(address) as wire:
        await wire.asks("type.googleapis.com/envoy.api.v2.Cluster")
        code, words = await wire.ends()
        assert (code, "v2" in words) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@both
@pytest.mark.parametrize(
    "name",
    [
        "envoy.of.the.Future",
        "envoy.config.route.v3.VirtualHost",
        "envoy.service.runtime.v3.Runtime",
        "envoy.config.core.v3.TypedExtensionConfig",
    ],
)
async def test_T_04_T_16_a_type_of_which_there_is_nothing_does_not_end_the_stream(method: str, name: str) -> None:
    """The other types go on; in delta its names are told to be missing."""
    async with serving(Desk(*WORLD)) as address, Wire(address, method) as wire:
        await wire.asks(f"type.googleapis.com/{name}", "x")
        if method == DELTA:
            assert list((await wire.gets()).removed_resources) == ["x"]
        await wire.asks(CLUSTER)
        assert named(await wire.gets()) == ["a"]


@both
async def test_T_17_every_response_names_the_server(method: str) -> None:
    """So that one can see at the proxy which replica it has."""
    async with serving(Desk(*WORLD), identifier="legation@host-1") as address, Wire(address, method) as wire:
        for one in WORLD:
            await wire.asks(one.type_url, "a")
            assert (await wire.gets()).control_plane.identifier == "legation@host-1"


@both
async def test_N_01_N_02_the_node_of_the_first_message_counts_for_all_types(method: str) -> None:
    """Later messages have none."""
    desk = Desk(*WORLD)
    async with serving(desk) as address, Wire(address, method, node="sidecar~10.0.0.1~a.ns~ns.svc.x") as wire:
        await wire.asks(CLUSTER)
        await wire.gets()
        await wire.asks(LISTENER)
        assert named(await wire.gets()) == ["a"]
        (proxy,) = desk.proxies
        assert (proxy.role, proxy.namespace, proxy.ip) == (Role.SIDECAR, "ns", "10.0.0.1")


@both
@pytest.mark.parametrize("node", [None, "", "ztunnel~1.2.3.4~a.b~c"])
async def test_N_03_a_first_message_must_say_who_asks(method: str, node: str | None) -> None:
    """No node, no id, or a kind of node that is not served."""
    desk = Desk(*WORLD)
    async with serving(desk) as address, Wire(address, method, node=node) as wire:
        await wire.asks(CLUSTER)
        assert (await wire.ends())[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert desk.proxies == []


async def test_N_04_another_node_later_changes_nothing() -> None:
    """Who one is is said once."""
    desk = Desk(*WORLD)
    async with serving(desk) as address, Wire(address, node="first") as wire:
        await wire.asks(CLUSTER)
        await wire.gets()
        wire.node = "second"
        await wire.asks(LISTENER)
        assert named(await wire.gets()) == ["a"]
        assert [proxy.id for proxy in desk.proxies] == ["first"]


async def test_N_05_N_06_what_is_kept_of_a_node() -> None:
    """Kind and version of the client, in both forms in which they come; not its list of extensions."""
    desk = Desk(*WORLD)
    async with serving(desk) as address:
        for number, fields in enumerate(
            (
                {
                    "user_agent_name": "envoy",
                    "user_agent_build_version": {"version": {"major_number": 1, "minor_number": 40}},
                },
                {"user_agent_name": "gRPC Go", "user_agent_version": "1.71.0"},
            )
        ):
            node = {"id": f"n{number}", "extensions": [{"name": "x" * 100}] * 100, **fields}
            request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER, node=node)  # type: ignore[arg-type]
            async with Wire(address) as wire:
                await wire.raw(request.SerializeToString())
                await wire.gets()
        envoy, grpc_go = desk.proxies
        assert (envoy.client, envoy.version) == (Client.ENVOY, "1.40.0")
        assert (grpc_go.client, grpc_go.version) == (Client.GRPC, "1.71.0")
        assert "xxx" not in repr(desk.proxies)


async def test_N_08_resources_are_bare_whatever_a_client_can_do() -> None:
    """A wrapper is for time to live, which nothing has."""
    desk = Desk(*WORLD)
    request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER, node={"id": "n"})  # type: ignore[arg-type]
    request.node.client_features.append("xds.config.resource-in-sotw")
    async with serving(desk) as address, Wire(address) as wire:
        await wire.raw(request.SerializeToString())
        assert {one.type_url for one in (await wire.gets()).resources} == {CLUSTER}


def test_X_05_names_by_locator_are_names() -> None:
    """A client that says what it wants in another way has not asked for everything."""
    request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER)
    request.resource_locators.add().name = "a"
    assert sotw_request(request.SerializeToString())[0].names == ("a",)


async def test_Z_a_client_that_is_refused_is_told_so() -> None:
    """PERMISSION_DENIED with the application's words."""
    desk = Desk(*WORLD)
    desk.refusal = "not one of ours"
    async with serving(desk) as address, Wire(address) as wire:
        await wire.asks(CLUSTER)
        assert await wire.ends() == (grpc.StatusCode.PERMISSION_DENIED, "not one of ours")


async def test_Q_04_B_05_nothing_is_answered_before_the_first_load() -> None:
    """Then everything is; health says which."""
    desk = Desk(*WORLD)
    desk.open.clear()
    async with serving(desk) as address, Wire(address) as wire:
        health = health_pb2_grpc.HealthStub(wire.channel)
        check = health_pb2.HealthCheckRequest()
        await wire.asks(CLUSTER)
        assert (await health.Check(check)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert desk.sessions == []
        desk.open.set()
        assert named(await wire.gets()) == ["a"]
        assert (await health.Check(check)).status == health_pb2.HealthCheckResponse.SERVING
