"""Slow clients, limits, and hostile ones, on a real server (F-01 …, K-02 …, Y-01 …)."""

from __future__ import annotations

import asyncio
import random

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE
from legation.stream.commands import Close, Send
from legation.stream.events import Fault, Requested, Ticked
from legation.stream.machine import MAX_NAMES, MAX_TYPES, Stream, Variant
from stream.playbook import DELTA as DELTA_DIALECT
from stream.playbook import SOTW, Play, endpoints
from transport.wire import DELTA, STREAM, Desk, Wire, named, packed, serving

LARGE = "x" * (6 << 20)
"""More than a client that never reads takes off the server's hands."""


async def test_F_01_F_02_who_does_not_read_delays_nobody_and_costs_little() -> None:
    """Others get every push; for the slow one they are merged, and it gets the newest once it reads."""
    desk = Desk(packed(CLUSTER, "large", LARGE), packed(ENDPOINT, "a", "0"))
    async with serving(desk) as address, Wire(address, DELTA) as slow, Wire(address, DELTA) as quick:
        await slow.asks(CLUSTER)
        await slow.asks(ENDPOINT, "a")
        await desk.until(lambda: len(desk.sessions) == 1)
        await quick.asks(ENDPOINT, "a")
        await quick.acks(await quick.gets())
        for number in range(1, 200):
            desk.puts(packed(ENDPOINT, "a", f"{number}"), packed(CLUSTER, "large", LARGE + f"{number}"))
            response = await quick.gets()
            assert response.resources[0].version == desk.snapshot.of(ENDPOINT)["a"].version
            await quick.acks(response)
        got = [await slow.gets(), await slow.gets()]
        assert {one.type_url for one in got} == {CLUSTER, ENDPOINT}
        for one in got:
            await slow.acks(one)
        newest = {one.type_url: one.resources[0].version for one in (await slow.gets(), await slow.gets())}
        assert newest == {one: next(iter(desk.snapshot.of(one).values())).version for one in (CLUSTER, ENDPOINT)}


async def test_F_07_the_server_reads_while_it_cannot_write() -> None:
    """Two sides that both only write would wait for each other for ever."""
    desk = Desk(packed(ENDPOINT, "a"), packed(CLUSTER, "large", LARGE))
    async with serving(desk) as address, Wire(address, DELTA) as wire:
        await wire.asks(ENDPOINT, "a")
        first = await wire.gets()
        await wire.asks(CLUSTER)
        await wire.acks(first)
        await desk.until(lambda: desk.words)
        assert desk.words[0].type_url == ENDPOINT
        assert named(await wire.gets()) == ["large"]


async def test_K_05_hundreds_of_streams_on_one_connection() -> None:
    """An Envoy without ADS opens one per cluster."""
    count = 300
    desk = Desk(*(packed(ENDPOINT, f"e{number}") for number in range(count)))
    method = "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints"
    async with serving(desk) as address, grpc.aio.insecure_channel(address) as channel:
        calls = [channel.stream_stream(method)() for _ in range(count)]
        for number, call in enumerate(calls):
            request = discovery_pb2.DiscoveryRequest(resource_names=[f"e{number}"], node={"id": "n"})  # type: ignore[arg-type]
            await call.write(request.SerializeToString())
        async with asyncio.timeout(20):
            answers = [discovery_pb2.DiscoveryResponse.FromString(await call.read()) for call in calls]
        assert [named(answer) for answer in answers] == [[f"e{number}"] for number in range(count)]
        for call in calls:
            call.cancel()


async def test_K_06_D_15_a_reconnect_with_very_many_versions() -> None:
    """More than gRPC's default limit of 4 MiB, else such a client could never come back."""
    desk = Desk(packed(CLUSTER, "a"))
    had = {f"outbound|9080|v1|service-{number}.some-namespace.svc.cluster.local": "v" * 16 for number in range(90_000)}
    async with serving(desk) as address, Wire(address, DELTA) as wire:
        await wire.asks(CLUSTER, initial_resource_versions=had)
        assert named(await wire.gets()) == ["a"]


@pytest.mark.parametrize("method", [STREAM, DELTA])
async def test_Y_01_garbage_ends_its_own_stream_only(method: str) -> None:
    """Bytes that are no message: INVALID_ARGUMENT, and the server goes on."""
    desk = Desk(packed(CLUSTER, "a"))
    async with serving(desk) as address, Wire(address, method) as good:
        await good.asks(CLUSTER)
        await good.gets()
        dice = random.Random(1)
        for _ in range(20):
            async with Wire(address, method) as bad:
                await bad.raw(b"\xff" + dice.randbytes(200))
                assert (await bad.ends())[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert len(desk.sessions) == 1
        await good.asks(LISTENER)
        assert (await good.gets()).type_url == LISTENER


async def test_Y_02_a_message_of_the_other_dialect_does_no_harm() -> None:
    """The field numbers differ: it is refused, or says something harmless."""
    request = discovery_pb2.DiscoveryRequest(
        version_info="1", type_url=CLUSTER, resource_names=["a"], response_nonce="x"
    )
    request.node.id = "n"
    desk = Desk(packed(CLUSTER, "a"))
    async with serving(desk) as address, Wire(address, DELTA) as wire:
        await wire.raw(request.SerializeToString())
        assert (await wire.ends())[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert desk.sessions == []


NAMES = st.one_of(st.sampled_from(["a", "b", "*", ""]), st.text(max_size=5))
LISTS = st.lists(NAMES, max_size=4).map(tuple)


@pytest.mark.parametrize("variant", list(Variant))
@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.builds(
            Requested,
            type_url=st.sampled_from([CLUSTER, ENDPOINT, LISTENER, ROUTE, "type.googleapis.com/other"]),
            names=LISTS,
            subscribe=LISTS,
            unsubscribe=LISTS,
            initial_resource_versions=st.dictionaries(NAMES, NAMES, max_size=3),
            version_info=NAMES,
            response_nonce=st.one_of(st.text(max_size=3), st.integers(1, 9).map(lambda number: f"n{number}")),
            error=st.one_of(st.none(), st.builds(Fault, st.integers(0, 20), st.text(max_size=5))),
        ),
        max_size=12,
    )
)
def test_Y_01_no_request_however_odd_breaks_a_stream(variant: Variant, requests: list[Requested]) -> None:
    """Odd names, nonces that are ours or nobody's, refusals of everything: no exception, and rest in the end."""
    play = Play(variant, endpoints("a"), endpoints(""), endpoints("é\n"))
    for request in requests:
        play.says(request)
        play.puts(endpoints("a", str(len(play.heard))))
        play.stream.status()
    play.waits(1000)
    assert sum(isinstance(one, Send) for one in play.stream.handle(Ticked(), play.now)) == 0
    assert play.closed is None


@pytest.mark.parametrize("variant", [SOTW, DELTA_DIALECT])
def test_Y_01_as_many_names_as_there_may_be(variant: Variant) -> None:
    """They are kept as they are, and answered for what is there."""
    names = tuple(f"name-{number}" for number in range(MAX_NAMES))
    play = Play(variant, endpoints("name-7"))
    sent = play.only(play.says(Requested(ENDPOINT, names=names, subscribe=names)))
    assert [one.name for one in sent.resources] == ["name-7"]


def test_Y_01_types_without_end() -> None:
    """A stream has a bounded number of types."""
    stream = Stream(SOTW, Play(SOTW).snapshot)
    for number in range(MAX_TYPES):
        assert stream.handle(Requested(f"type.googleapis.com/t{number}", names=("x",)), 0) == []
    (close,) = stream.handle(Requested("type.googleapis.com/one.more"), 0)
    assert isinstance(close, Close)
    assert close.code == "RESOURCE_EXHAUSTED"
    assert stream.handle(Requested(CLUSTER), 0) == []


@pytest.mark.parametrize("variant", [SOTW, DELTA_DIALECT])
def test_Y_03_a_client_that_refuses_everything_comes_to_rest(variant: Variant) -> None:
    """Each content is offered with its company and alone, and then no more."""
    play = Play(variant, *(endpoints(f"e{number}") for number in range(10)))
    sends = play.asks(ENDPOINT, *(f"e{number}" for number in range(10)))
    rounds = 0
    while sends and rounds < 100:
        sends = play.nacks(play.only(sends))
        rounds += 1
    assert rounds == 1 + 10
    assert play.waits(3600) == []


@pytest.mark.parametrize("variant", [SOTW, DELTA_DIALECT])
def test_Y_05_a_changing_subscription_costs_what_changes(variant: Variant) -> None:
    """A thousand names come and go, one by one."""
    play = Play(variant, *(endpoints(f"e{number}") for number in range(1000)))
    play.settle(play.asks(ENDPOINT, "e0"))
    for number in range(1, 1000):
        assert len(play.only(play.settle(play.asks(ENDPOINT, f"e{number}"))).resources) == 1
        assert play.drops(ENDPOINT, f"e{number - 1}") == []
    assert play.stream.status()["eds"].synced
