"""What one client may cost the others (Q-01 …), and what hostile ones try (Y-03)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st
from legation.console.metrics import Metrics
from legation.fleet import KINDS, Fleet
from legation.model.access import Peer
from legation.model.proxy import Channel, Proxy, Role
from legation.model.world import Mesh, World
from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE
from legation.snapshot.snapshot import Snapshot
from legation.status import ProxyStatus
from legation.stream import machine
from legation.transport import ads, codec, limits
from legation.transport.limits import Pace, Paces
from prometheus_client import CollectorRegistry
from stream.playbook import DELTA as DELTA_DIALECT
from stream.playbook import SOTW, Play, cluster, named, route
from transport.wire import DELTA, OPTIONS, STREAM, Desk, Wire, packed, serving

LARGE = "x" * (6 << 20)
"""More than a client that never reads takes off the server's hands."""
NEVER = 3600.0
NARROW = [("grpc.http2.bdp_probe", 0)]
"""A client whose window stays as it is: the server is stuck in writing to it at 64 KiB."""


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets limits of the entrance."""

    def set_(**values: float) -> None:
        for name, value in values.items():
            monkeypatch.setattr(limits, name, value)

    return set_


async def alive(wire: Wire) -> None:
    """Returns once the server has answered something else, so that it had time for what came before."""
    health = health_pb2_grpc.HealthStub(wire.channel)
    for _ in range(3):
        await health.Check(health_pb2.HealthCheckRequest())


async def test_Q_01_F_05_so_many_are_brought_up_at_once_and_the_others_in_turn(doors: Callable[..., None]) -> None:
    """Who has its first response, or is gone, makes room for the next."""
    doors(ENTRANTS=2, ENTRANCE=NEVER)
    desk = Desk(packed(CLUSTER, "large", LARGE))
    async with serving(desk) as address, contextlib.AsyncExitStack() as stack:
        wires = [
            await stack.enter_async_context(Wire(address, DELTA, f"n{number}", options=NARROW)) for number in range(4)
        ]
        for number, wire in enumerate(wires):
            await wire.asks(CLUSTER)
            await desk.until(lambda number=number: len(desk.sessions) == min(2, number + 1))
        await alive(wires[3])
        assert [proxy.id for proxy in desk.proxies] == ["n0", "n1"]
        await wires[0].gets()
        await desk.until(lambda: len(desk.sessions) == 3)
        wires[1].call.cancel()
        await desk.until(lambda: len(desk.proxies) == 4)
        assert {proxy.id for proxy in desk.proxies[2:]} == {"n2", "n3"}


async def test_Q_01_who_would_wait_too_long_is_told_to_come_again(doors: Callable[..., None]) -> None:
    """UNAVAILABLE; and the next time, when there is room, it is served."""
    doors(ENTRANTS=1, ENTRANCE=NEVER, LINE=0.05)
    told: list[None] = []
    desk = Desk(packed(CLUSTER, "large", LARGE))
    async with serving(desk, turned_away=lambda: told.append(None)) as address:
        async with Wire(address, DELTA, options=NARROW) as first:
            await first.asks(CLUSTER)
            await desk.until(lambda: desk.sessions)
            async with Wire(address) as second:
                await second.asks(CLUSTER)
                code, words = await second.ends()
                assert (code, "come again" in words) == (grpc.StatusCode.UNAVAILABLE, True)
                assert len(told) == 1
        await desk.until(lambda: not desk.sessions)
        async with Wire(address) as second:
            await second.asks(CLUSTER)
            await second.gets()


async def test_Q_03_who_takes_nothing_makes_room_all_the_same(doors: Callable[..., None]) -> None:
    """Else a few that never read would shut out everybody."""
    doors(ENTRANTS=2, ENTRANCE=0.05)
    desk = Desk(packed(CLUSTER, "large", LARGE))
    async with serving(desk) as address, contextlib.AsyncExitStack() as stack:
        for number in range(6):
            wire = await stack.enter_async_context(Wire(address, DELTA, f"n{number}", options=NARROW))
            await wire.asks(CLUSTER)
        await desk.until(lambda: len(desk.sessions) == 6)


async def test_F_06_a_place_is_given_back_however_it_ends(doors: Callable[..., None]) -> None:
    """Garbage, a node that is refused, one that hangs up while it waits."""
    doors(ENTRANTS=1, ENTRANCE=NEVER)
    desk = Desk(packed(CLUSTER, "a"))
    desk.open.clear()
    async with serving(desk) as address:
        async with Wire(address) as impatient:
            await impatient.asks(CLUSTER)
            await alive(impatient)
        desk.open.set()
        for data in (b"\xff\xff", discovery_pb2.DiscoveryRequest(type_url=CLUSTER).SerializeToString()):
            async with Wire(address) as bad:
                await bad.raw(data)
                assert (await bad.ends())[0] is grpc.StatusCode.INVALID_ARGUMENT
        desk.refusal = "not you"
        async with Wire(address) as refused:
            await refused.asks(CLUSTER)
            await refused.ends()
        desk.refusal = ""
        for type_url in (CLUSTER, "type.googleapis.com/of.which.nothing.is.Sent"):
            async with Wire(address) as good:
                await good.asks(type_url, "a")
                await desk.until(lambda: desk.sessions)
            await desk.until(lambda: not desk.sessions)
        async with Wire(address) as good:
            await good.asks(CLUSTER)
            await good.gets()


async def test_Q_01_what_takes_long_leaves_the_others_their_turn(doors: Callable[..., None]) -> None:
    """A proxy of a new kind is rendered for in one go: the next such waits as long as that took."""
    doors(LONG=0.05)
    joined: list[float] = []

    class Slow(Desk):
        def join(self, proxy: Proxy, session: Any) -> Any:
            time.sleep(0.1)
            joined.append(time.monotonic())
            return super().join(proxy, session)

    async with serving(Slow(packed(CLUSTER, "a"))) as address, contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire(address)) for _ in range(3)]
        for wire in wires:
            await wire.asks(CLUSTER)
        for wire in wires:
            await wire.gets()
    assert all(later - earlier >= 0.19 for earlier, later in itertools.pairwise(joined))


@pytest.mark.parametrize("channel", list(Channel))
async def test_Q_02_who_claims_to_be_ever_another_kind_of_proxy_is_refused(channel: Channel) -> None:
    """Each kind is rendered for. Not on this machine itself, where whoever asks is trusted."""
    fleet = Fleet(World(Mesh()), Metrics.on(CollectorRegistry()), lambda session, refusal: None)
    desk, joined = Desk(), []

    class Session:
        aggregated, previous, proofs = True, Snapshot(), None

        def __init__(self, number: int, address: str) -> None:
            self.proxy = Proxy(f"{number}", Role.SIDECAR, f"ns-{number}", "x")
            self.peer = Peer(channel, address, None)

        def status(self) -> ProxyStatus:
            return ProxyStatus(self.proxy.id, "", "", "delta")

        def served(self) -> Snapshot:
            return desk.snapshot

    def join(number: int, address: str) -> None:
        session: Any = Session(number, address)
        fleet.join(session.proxy, session)
        joined.append(session)

    for number in range(KINDS):
        join(number, f"ipv4:10.0.0.1:{number}")
    join(0, "ipv4:10.0.0.1:9999")
    join(KINDS + 1, "ipv4:10.0.0.2:1")
    with pytest.raises(PermissionError) if channel in (Channel.TLS, Channel.OPEN) else contextlib.nullcontext():
        join(KINDS + 2, "ipv4:10.0.0.1:9999")
    for session in joined[:2]:
        fleet.leave(session)
    join(KINDS + 3, "ipv4:10.0.0.1:9999")


async def test_Q_02_a_stream_is_read_at_a_pace(doors: Callable[..., None]) -> None:
    """What is beyond it stays on the client's side; whoever else asks does not wait."""
    doors(RATE=1.0, BURST=10.0)
    desk = Desk(packed(ENDPOINT, "a"), packed(CLUSTER, "a"))
    began = time.monotonic()
    async with serving(desk) as address, Wire(address, DELTA, "hasty") as hasty, Wire(address, DELTA, "calm") as calm:
        for number in range(100):
            await hasty.asks(ENDPOINT, f"e{number}")
        await hasty.gets()
        await calm.asks(CLUSTER)
        await calm.gets()
        session = next(session for session in desk.sessions if session.proxy.id == "hasty")
        asked = {found.name for found in session.inventory()}
        assert 5 < len(asked) <= 12 + time.monotonic() - began


async def test_Q_02_what_came_too_fast_is_read_in_the_end(doors: Callable[..., None]) -> None:
    """Nothing is lost."""
    doors(RATE=1000.0, BURST=10.0)
    desk = Desk(*(packed(ENDPOINT, f"e{number}") for number in range(100)))
    async with serving(desk) as address, Wire(address, DELTA) as hasty:
        for number in range(100):
            await hasty.asks(ENDPOINT, f"e{number}")
        got: set[str] = set()
        while len(got) < 100:
            response = await hasty.gets()
            got.update(one.name for one in response.resources)
            await hasty.acks(response)


def test_Q_02_a_pace_is_a_rate_with_a_burst_and_size_counts() -> None:
    """Ahead of time for so many, then one after the other; a rest pays it back."""
    pace = Pace()
    assert not any(pace.spend(0, 1000.0) for _ in range(int(limits.BURST)))
    assert pace.spend(0, 1000.0) == pytest.approx(1 / limits.RATE)
    assert pace.spend(64 * limits.PIECE, 1000.0) == pytest.approx(66 / limits.RATE)
    assert not pace.is_rested(1001.0)
    assert pace.spend(0, 1000.0 + 3600) == 0


async def test_Q_02_another_stream_of_the_same_connection_is_no_fresh_start(doors: Callable[..., None]) -> None:
    """But that of another connection is, and so is each on a Unix socket, where all have one name."""
    doors(RATE=100.0, BURST=2.0)
    paces, now = Paces(), asyncio.get_running_loop().time()
    first = paces.begin("ipv4:1.2.3.4:5")
    for _ in range(10):
        first.spend(0, now)
    paces.end("ipv4:1.2.3.4:5", first, now)
    assert paces.begin("ipv4:1.2.3.4:5") is first
    assert paces.begin("ipv4:1.2.3.4:6") is not first
    assert paces.begin("unix:") is not paces.begin("unix:")


async def test_Q_02_a_connection_that_rests_is_forgotten(doors: Callable[..., None]) -> None:
    """Connections come and go for ever."""
    doors(RATE=1000.0, BURST=1.0)
    paces, loop = Paces(), asyncio.get_running_loop()
    pace = paces.begin("ipv4:1.2.3.4:5")
    pace.spend(0, loop.time())
    paces.end("ipv4:1.2.3.4:5", pace, loop.time())
    forgotten = asyncio.Event()
    loop.call_later(0.5, forgotten.set)
    await forgotten.wait()
    assert paces.begin("ipv4:1.2.3.4:5") is not pace


@pytest.mark.parametrize(
    "node",
    [
        {"id": "x" * 1025},
        {"id": "two\nlines"},
        {"id": "n", "metadata": {"LABELS": "x" * limits.METADATA}},
        {"id": "n", "extensions": [{"name": "x" * 1000}] * 1100},
    ],
    ids=["long id", "lines", "metadata", "extensions"],
)
async def test_Q_05_a_node_has_a_size(node: Any) -> None:
    """And its id is fit to be printed."""
    desk = Desk()
    async with serving(desk) as address, Wire(address) as wire:
        await wire.raw(discovery_pb2.DiscoveryRequest(type_url=CLUSTER, node=node).SerializeToString())
        assert (await wire.ends())[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert not desk.proxies


@pytest.mark.parametrize("method", [STREAM, DELTA])
async def test_Q_05_Y_01_a_million_names_end_their_own_stream(method: str) -> None:
    """In words; so does one that is too long, and a message that is too large."""
    desk = Desk(packed(ENDPOINT, "a"))
    async with serving(desk) as address:
        for names, codes in (
            ([f"name-{number}" for number in range(1_000_000)], {grpc.StatusCode.RESOURCE_EXHAUSTED}),
            (["a"] * (machine.MAX_NAMES + 1), {grpc.StatusCode.RESOURCE_EXHAUSTED}),
            (["x" * (machine.LONGEST_NAME + 1)], {grpc.StatusCode.INVALID_ARGUMENT}),
            # The connection may be gone before all of it is written.
            (["x" * limits.REQUEST], {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL}),
        ):
            async with Wire(address, method) as wire:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await wire.asks(ENDPOINT, *names)
                assert (await wire.ends())[0] in codes
        async with Wire(address, method) as wire:
            await wire.asks(ENDPOINT, "a")
            await wire.gets()


@pytest.mark.parametrize("variant", [SOTW, DELTA_DIALECT])
def test_Q_05_names_are_counted_over_all_types_and_once(variant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To ask again is free, and what is dropped makes room."""
    monkeypatch.setattr(machine, "MAX_NAMES", 10)
    play = Play(variant)
    play.asks(ENDPOINT, *(f"a{number}" for number in range(6)))
    play.asks(ENDPOINT, *(f"a{number}" for number in range(6)))
    play.asks(ROUTE, *(f"b{number}" for number in range(4)))
    assert play.closed is None
    play.drops(ENDPOINT, "a0")
    play.asks(ROUTE, "b4")
    assert play.closed is None
    play.asks(ROUTE, "b5")
    assert play.closed is not None
    assert play.closed.code == "RESOURCE_EXHAUSTED"


async def test_K_07_a_response_that_a_client_of_grpc_may_not_take_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """They take four MiB unless they are told otherwise, and hang up without a word; Envoy takes any."""
    desk = Desk(packed(CLUSTER, "large", "x" * limits.NEAR))
    request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER, node={"id": "n"})  # type: ignore[arg-type]
    async with serving(desk) as address:
        for agent, told in (("envoy", 0), ("gRPC Go", 1)):
            request.node.user_agent_name = agent
            with caplog.at_level(logging.WARNING, "legation"):
                async with Wire(address) as wire:
                    await wire.raw(request.SerializeToString())
                    await wire.gets()
            assert len([record for record in caplog.records if "MiB" in record.getMessage()]) == told


@pytest.mark.parametrize("variant", [SOTW, DELTA_DIALECT])
def test_O_14_F_08_a_request_is_answered_beside_a_storm_of_pushes(variant: Any) -> None:
    """And the pushes go on beside a storm of requests."""
    play = Play(variant, cluster("a", endpoints=False), route("r"))
    play.asks(CLUSTER)
    for number in range(50):
        assert play.puts(cluster("a", str(number), endpoints=False)) == []
    assert named(play.only(play.asks(ROUTE, "r"))) == ["r"]
    clusters = play.open[CLUSTER]
    for number in range(50):
        play.asks(ROUTE, f"r{number}")
    assert named(play.only(play.acks(clusters))) == ["a"]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["NAMESPACE", "LABELS", "INTERCEPTION_MODE", "LEGATION_PORT_MAP", "LEGATION_BIND", "GENERATOR", "x"]
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["n", "router~1.2.3.4~a.b~b.svc.x", "sidecar~~~", "~~~~", "a~b", "sidecar~::1~x.y~y.svc.z"]),
    st.dictionaries(KEYS, JSON, max_size=5),
    st.lists(st.text(max_size=5), min_size=3, max_size=3),
)
def test_N_09_any_metadata_and_locality_are_borne(ident: str, metadata: dict[str, Any], place: list[str]) -> None:
    """They make a proxy that is a value, or are refused in words."""
    request = discovery_pb2.DiscoveryRequest()
    request.node.id = ident
    request.node.metadata.update(metadata)
    request.node.locality.region, request.node.locality.zone, request.node.locality.sub_zone = place
    try:
        found = codec.proxy(request.node)
    except ValueError:
        return
    assert isinstance(found, Proxy)
    assert hash(found.scope(frozenset({"app"}))) == hash(found.scope(frozenset({"app"})))


SEEDS = [
    discovery_pb2.DiscoveryRequest(type_url=CLUSTER, resource_names=["a", "*"], node={"id": "n"}),  # type: ignore[arg-type]
    discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, initial_resource_versions={"a": "1"}, node={"id": "n"}),  # type: ignore[arg-type]
]


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([one.SerializeToString() for one in SEEDS]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=6),
    st.binary(max_size=20),
    st.sampled_from([ads.SOTW, ads.DELTA]),
)
def test_Y_01_bytes_that_are_nearly_a_request(seed: bytes, flips: list[Any], tail: bytes, dialect: ads.Dialect) -> None:
    """They are a request, or they are refused as one; a machine bears what they say."""
    raw = bytearray(seed)
    for at, value in flips:
        raw[at % len(raw)] = value
    try:
        event, node = dialect.read(bytes(raw) + tail, "")
    except DecodeError:
        return
    if node is not None:
        with contextlib.suppress(ValueError):
            codec.proxy(node)
    play = Play(dialect.variant, cluster("a"))
    play.says(event)
    play.puts(cluster("a", "2"))


# --- Y-03: each of these runs beside a client that must get everything ----------------------------------------------

Hostile = Callable[[str], Coroutine[Any, Any, None]]


async def silent(address: str) -> None:
    """Takes what comes and never answers."""
    async with Wire(address, DELTA, "silent") as wire:
        await wire.asks(CLUSTER)
        await wire.asks(ENDPOINT, "a")
        await asyncio.Event().wait()


async def deaf(address: str) -> None:
    """Asks for everything and never reads."""
    async with Wire(address, STREAM, "deaf", options=NARROW) as wire:
        for number in range(100):
            await wire.asks(CLUSTER, response_nonce=f"{number}")
        await asyncio.Event().wait()


async def refusing(address: str) -> None:
    """Refuses all of it."""
    async with Wire(address, DELTA, "refusing") as wire:
        await wire.asks(CLUSTER)
        await wire.asks(ENDPOINT, "a")
        while True:
            response = await wire.gets(3600)
            await wire.asks(response.type_url, response_nonce=response.nonce, error="no " * 1000)


async def returning(address: str) -> None:
    """Hangs up as soon as it has something, and comes again."""
    for number in range(10_000):
        async with Wire(address, DELTA if number % 2 else STREAM, "returning") as wire:
            await wire.asks(CLUSTER)
            if number % 3:
                await wire.gets()


async def manifold(address: str) -> None:
    """A thousand streams on one connection."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        request = discovery_pb2.DiscoveryRequest(type_url=ENDPOINT, resource_names=["a"], node={"id": "many"})  # type: ignore[arg-type]
        calls = [channel.stream_stream(STREAM)() for _ in range(1000)]
        for call in calls:
            await call.write(request.SerializeToString())
        await asyncio.Event().wait()


async def hasty(address: str) -> None:
    """Ten thousand requests as fast as it can, and as many again."""
    async with Wire(address, DELTA, "hasty") as wire:
        for number in range(1_000_000):
            await wire.asks(ENDPOINT, f"e{number % 50}")


async def greedy(address: str) -> None:
    """A million names, again and again."""
    names = [f"a-name-that-is-not-very-short-{number}" for number in range(1_000_000)]
    message = discovery_pb2.DeltaDiscoveryRequest(type_url=ENDPOINT, node={"id": "greedy"})  # type: ignore[arg-type]
    message.resource_names_subscribe.extend(names[:300_000])
    raw = message.SerializeToString()
    while True:
        async with Wire(address, DELTA, "greedy") as wire:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await wire.raw(raw)
            await wire.ends()


async def babbling(address: str) -> None:
    """Garbage."""
    dice = random.Random(7)
    while True:
        async with Wire(address, dice.choice([STREAM, DELTA]), "babbling") as wire:
            await wire.raw(dice.randbytes(1000))
            await wire.ends()


@contextlib.asynccontextmanager
async def beside(hostile: Hostile, address: str) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(hostile(address))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("hostile", [silent, deaf, refusing, returning, manifold, hasty, greedy, babbling])
async def test_Y_03_F_01_a_hostile_client_hurts_nobody_else(hostile: Hostile) -> None:
    """A client beside it gets every push while it does its worst; when it is gone, nothing of it is left."""
    desk = Desk(packed(CLUSTER, "a"), packed(ENDPOINT, "a", "0"))
    async with serving(desk) as address, Wire(address, DELTA, "good") as good:
        await good.asks(ENDPOINT, "a")
        await good.acks(await good.gets())
        async with beside(hostile, address) as task:
            if hostile not in (greedy, babbling):
                await desk.until(lambda: len(desk.proxies) > 1)
            for number in range(1, 40):
                desk.puts(packed(ENDPOINT, "a", f"{number}"), packed(CLUSTER, "a", f"{number}"))
                response = await good.gets()
                assert response.resources[0].version == desk.snapshot.of(ENDPOINT)["a"].version
                await good.acks(response)
            assert not task.done(), "it has done its worst all the time"
            for session in desk.sessions:
                waiting = [status.pending for status in session.status().types.values()]
                assert all(count <= 1 for count in waiting), "one response per type is on its way"
        await desk.until(lambda: [session.proxy.id for session in desk.sessions] == ["good"])
        await good.asks(LISTENER)
        assert (await good.gets()).type_url == LISTENER
