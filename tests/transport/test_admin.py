"""The admin API as somebody with no more than gRPC sees it; and that nobody waits for whoever listens slowly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from legation.console.metrics import Metrics
from legation.names import CLUSTER
from legation.problems import Problem, Severity
from legation.progress import Progress
from legation.transport import admin
from legation.transport.access import Access
from legation.transport.admin import Admin
from prometheus_client import CollectorRegistry

from transport.wire import PATIENCE, Desk, Wire, packed, serving

PER_TYPE = "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters"
"""A client that wants clusters and nothing else."""
NAME = "legation.admin.v1.Admin"
WRONG = Problem(Severity.ERROR, "LEG001", "no such field", "a.yaml", 3, 5, "VirtualService default/a", "spec.x", "hint")
METRICS = Metrics.on(CollectorRegistry())


class Office(Desk):
    """A Desk that notes how far everyone is, and is asked by the admin API."""

    def __init__(self, *clusters: str) -> None:
        super().__init__(*(packed(CLUSTER, name) for name in clusters))
        self.revision = "r1"
        self.view = View(self)
        self.progress = Progress(METRICS, lambda _: self.snapshot, self._stirred)
        self.admin = Admin(self.progress, self.view, Access().administrator)
        self.progress.revised(self.revision)

    def _stirred(self, streams: Iterable[int]) -> None:
        self.admin.stirred(streams)

    def join(self, proxy: Any, session: Any) -> Any:
        self.progress.joined(session)
        return super().join(proxy, session)

    def leave(self, session: Any) -> None:
        self.progress.left(session)
        super().leave(session)

    def heard(self, session: Any, command: Any, latency: float) -> None:
        self.progress.answered(session, taken=True)
        super().heard(session, command, latency)

    def stirred(self, session: Any) -> None:
        self.progress.stirred(session)
        super().stirred(session)

    def revise(self, revision: str, *names: str) -> None:
        """Another revision, in which these clusters are different."""
        self.revision = revision
        self.progress.revised(revision)
        if names:
            self.puts(*(packed(CLUSTER, name, revision) for name in names))
            self.progress.sent(self.sessions, 0.0)


@dataclass
class View:
    """What is wrong, as the test sets it."""

    office: Office
    ready: bool = True
    found: list[Problem] = field(default_factory=list)
    kept: list[Problem] = field(default_factory=list)

    @property
    def revision(self) -> str:
        return self.office.revision

    def problems(self) -> list[Problem]:
        return self.found

    def held(self) -> list[Problem]:
        return self.kept

    async def settled(self) -> None:
        await asyncio.sleep(0)


class Bare:
    """A client that knows the address, and learns the rest by reflection."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.pool = descriptor_pool.DescriptorPool()

    async def learns(self) -> list[str]:
        """All services there are."""
        stub = reflection_pb2_grpc.ServerReflectionStub(self.channel)
        asked = reflection_pb2.ServerReflectionRequest
        call = stub.ServerReflectionInfo(iter([asked(list_services=""), asked(file_containing_symbol=NAME)]))
        listed, described = [answer async for answer in call]
        for raw in reversed(described.file_descriptor_response.file_descriptor_proto):
            self.pool.Add(descriptor_pb2.FileDescriptorProto.FromString(raw))
        return [service.name for service in listed.list_services_response.service]

    def call(self, method: str, **request: Any) -> Any:
        described = self.pool.FindServiceByName(NAME).methods_by_name[method]
        taken, given = map(message_factory.GetMessageClass, (described.input_type, described.output_type))
        kind = self.channel.unary_stream if described.server_streaming else self.channel.unary_unary
        made = kind(
            f"/{NAME}/{method}", request_serializer=taken.SerializeToString, response_deserializer=given.FromString
        )
        return made(taken(**request), timeout=PATIENCE)


@asynccontextmanager
async def opened(office: Office) -> AsyncIterator[tuple[Bare, str]]:
    async with serving(office, handlers=[office.admin.handler], services=office.admin.services) as address:
        bare = Bare(address)
        assert NAME in await bare.learns()
        try:
            yield bare, address
        finally:
            await bare.channel.close()


async def until(call: Any, wanted: Callable[[Any], Any]) -> Any:
    """The first message of a call that is the wanted one."""
    async with asyncio.timeout(PATIENCE):
        while (message := await call.read()) is not grpc.aio.EOF:
            if wanted(message):
                return message
    raise AssertionError(f"it ended without: {await call.details()}")


async def test_who_knows_the_address_can_learn_the_rest() -> None:
    """Reflection describes it well enough to call it, types and all."""
    office = Office("a")
    office.view.found = [WRONG]
    async with opened(office) as (bare, address), Wire(address, node="sidecar~10.0.0.1~web.shop~shop.svc.x") as wire:
        await wire.asks(CLUSTER)
        first = await wire.gets()
        told = await bare.call("Status")
        assert (told.summary.ready, told.summary.revision, told.summary.connected) == (True, "r1", 1)
        (proxy,) = told.proxies
        assert (proxy.id, proxy.role, proxy.namespace, proxy.variant) == (
            "sidecar~10.0.0.1~web.shop~shop.svc.x", "sidecar", "shop", "sotw",
        )  # fmt: skip
        assert (proxy.synced, proxy.revision, list(proxy.types)) == (False, "", ["cds"])
        assert (proxy.types["cds"].sent, proxy.types["cds"].acked) == (first.version_info, "")
        assert (proxy.types["cds"].pending, proxy.types["cds"].since.seconds > 1_700_000_000) == (1, True)
        (problem,) = told.findings.problems
        assert (problem.severity, problem.file, problem.line, problem.object) == (
            "error", "a.yaml", 3, "VirtualService default/a",
        )  # fmt: skip


async def test_a_watch_tells_what_there_is_and_then_what_changes() -> None:
    """One by one, and only that; also who goes."""
    office = Office("a")
    async with opened(office) as (bare, address):
        watch = bare.call("Watch")
        first = await until(watch, lambda said: said.complete)
        assert (list(first.proxies), first.HasField("findings")) == ([], True)
        async with Wire(address, PER_TYPE, node="one") as one, Wire(address, PER_TYPE, node="two") as two:
            for wire in (one, two):
                await wire.asks(CLUSTER)
                await wire.acks(await wire.gets())
            streams: dict[str, int] = {}
            while set(streams) != {"one", "two"}:
                said = await until(watch, lambda said: said.proxies)
                assert not said.HasField("findings")
                streams.update((proxy.id, proxy.stream) for proxy in said.proxies if proxy.synced)
            office.revise("r2", "a")
            await one.acks(await one.gets())
            both = await until(watch, lambda said: "two" in [proxy.id for proxy in said.proxies])
            (behind,) = (proxy for proxy in both.proxies if proxy.id == "two")
            assert (behind.synced, behind.revision, behind.stream) == (False, "r1", streams["two"])
            assert list(behind.lacks) == ["CDS was sent and not answered"]
            office.view.kept = [WRONG]
            office.admin.found()
            assert (await until(watch, lambda said: said.HasField("findings"))).findings.held[0].code == "LEG001"
        gone: set[int] = set()
        while gone != set(streams.values()):
            gone.update((await until(watch, lambda said: said.gone)).gone)
        office.admin.close()
        assert await watch.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_large_fleet_comes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last one says that this is all."""
    monkeypatch.setattr(admin, "PORTION", 1)
    office = Office("a")
    async with opened(office) as (bare, address):
        wires = [Wire(address, PER_TYPE, node=name) for name in ("one", "two", "three")]
        for wire in wires:
            await wire.asks(CLUSTER)
            await wire.gets()
        watch = bare.call("Watch")
        parts = [await watch.read() for _ in wires]
        assert [part.complete for part in parts] == [False, False, True]
        assert {proxy.id for part in parts for proxy in part.proxies} == {"one", "two", "three"}
        assert [part.HasField("findings") for part in parts] == [False, False, True]
        assert len((await bare.call("Status")).proxies) == 3
        assert len((await bare.call("Status", limit=2)).proxies) == 2
        for wire in wires:
            await wire.channel.close()


async def test_waiting_ends_when_the_last_one_has_it() -> None:
    """Not before, and it says who that is."""
    office = Office("a")
    async with opened(office) as (bare, address), Wire(address, PER_TYPE, node="one") as one:
        early = bare.call("Wait", proxies=1)
        assert (await until(early, lambda said: True)).revision == ""
        assert (await until(early, lambda said: said.revision)).connected == 0
        await one.asks(CLUSTER)
        await one.acks(await one.gets())
        assert (await until(early, lambda said: said.done)).revision == "r1"
        assert await early.read() is grpc.aio.EOF
        office.revise("r2", "a")
        late = bare.call("Wait")
        missing = await until(late, lambda said: said.missing)
        assert [(of.id, of.revision, of.why) for of in missing.missing] == [
            ("one", "r1", "CDS was sent and not answered")
        ]
        assert (missing.done, missing.revision, missing.missing_count) == (False, "r2", 1)
        assert (await until(bare.call("Wait", revision="r1"), lambda said: True)).done
        await one.acks(await one.gets())
        assert (await until(late, lambda said: said.done)).revision == "r2"


async def test_what_is_taken_back_while_it_is_on_its_way_must_be_answered_all_the_same() -> None:
    """What the client acknowledged last is what is in service again, but it may have the other by now."""
    office = Office("a")
    async with opened(office) as (bare, address), Wire(address, PER_TYPE, node="one") as one:
        await one.asks(CLUSTER)
        await one.acks(await one.gets())
        await until(bare.call("Wait"), lambda said: said.done)
        office.revise("r2", "a")
        on_its_way = await one.gets()
        office.revise("r3")
        office.puts(packed(CLUSTER, "a"))
        office.progress.sent(office.sessions, 0.0)
        watch = bare.call("Watch")
        await until(watch, lambda said: said.complete)
        office.progress.stirred(office.sessions[0])
        said = await until(watch, lambda said: said.proxies)
        assert not said.proxies[0].synced
        await one.acks(on_its_way)
        await one.acks(await one.gets())
        await until(bare.call("Wait", revision="r3"), lambda said: said.done)


async def test_a_revision_that_comes_later_is_waited_for() -> None:
    """One that changes nothing for a client is had by it at once; whoever has a newer one has it too. Its beginning is
    enough of a name, if there is no other.
    """
    office = Office("a")
    async with opened(office) as (bare, address), Wire(address, PER_TYPE) as wire:
        await wire.asks(CLUSTER)
        await wire.acks(await wire.gets())
        call = bare.call("Wait", revision="r3")
        first = await until(call, lambda said: True)
        assert (first.revision, first.newest, first.done) == ("", "r1", False)
        for revision in ("r2", "r3", "r4"):
            office.revise(revision)
        assert (await until(call, lambda said: said.done)).newest == "r4"
        office.revise("abcd")
        assert (await until(bare.call("Wait", revision="ab"), lambda said: True)).revision == "abcd"
        assert not (await until(bare.call("Wait", revision="r"), lambda said: True)).revision


async def test_nobody_waits_for_a_slow_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not read costs no more than a number for each stream, and hears in the end what is true then."""
    monkeypatch.setattr(admin, "PACE", 0.0)
    office = Office("a")
    async with opened(office) as (bare, address), Wire(address, PER_TYPE, node="n" * 1000) as wire:
        slow = bare.channel.unary_stream(f"/{NAME}/Watch", request_serializer=lambda _: b"")(None)
        await slow.initial_metadata()
        await wire.asks(CLUSTER)
        await wire.acks(await wire.gets())
        for number in range(2, 400):
            office.revise(f"r{number}", "a")
            await wire.acks(await wire.gets())
        (listener,) = office.admin._listeners
        assert len(listener.streams) <= 1
        described = bare.pool.FindMessageTypeByName("legation.admin.v1.WatchResponse")
        kind = message_factory.GetMessageClass(described)
        while True:
            said = kind.FromString(await slow.read())
            if said.summary.revision == "r399" and any(proxy.synced for proxy in said.proxies):
                break
        slow.cancel()


async def test_whoever_may_not_is_told_so() -> None:
    """In the words of the door."""
    office = Office()

    def nobody(_: object) -> None:
        raise PermissionError("not you")

    office.admin = Admin(office.progress, office.view, nobody)
    async with opened(office) as (bare, _):
        for method in ("Status", "Watch", "Wait"):
            call = bare.call(method)
            assert (await call.code(), await call.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not you")


async def test_who_may_no_longer_is_told_no_more() -> None:
    """A policy that changes counts for those who listen already."""
    office = Office()
    refusals: list[str] = []

    def permit(_: object) -> None:
        if refusals:
            raise PermissionError(refusals[0])

    office.admin = Admin(office.progress, office.view, permit)
    async with opened(office) as (bare, _):
        watch = bare.call("Watch")
        await until(watch, lambda said: said.complete)
        refusals.append("not any more")
        office.revise("r2")
        assert (await watch.code(), await watch.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not any more")


async def test_there_is_room_for_so_many_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "MOST_LISTENERS", 1)
    office = Office()
    async with opened(office) as (bare, _):
        first = bare.call("Watch")
        await until(first, lambda said: said.complete)
        assert await bare.call("Watch").code() is grpc.StatusCode.RESOURCE_EXHAUSTED
