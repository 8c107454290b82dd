"""Our own gRPC API (`protos/legation/admin/v1`): how the fleet stands, to whoever may know.

Nothing here keeps a state of the fleet: a listener has the numbers of the streams of which it must be told, and reads
how these stand when it is ready to be told. So a slow one costs a set of numbers, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from time import time
from typing import Any, Protocol, TypeAlias

import grpc

from legation.admin.v1 import admin_pb2
from legation.problems import Problem, Severity
from legation.status import Standing, TypeStatus
from legation.transport.identity import Context, Unauthenticated

SERVICE = admin_pb2.DESCRIPTOR.services_by_name["Admin"]

PORTION = 50
"""Proxies in one message, and before anything else has its turn: some milliseconds, some ten kilobytes."""
MOST_PROBLEMS = 1000
MOST_MISSING = 100
PACE = 0.05
"""Seconds between two messages to one listener: what changes meanwhile is told at once."""
MOST_LISTENERS = 100
SHUTTING_DOWN = "the server is shutting down"

Permit: TypeAlias = Callable[[Context], object]
"""Who may call: `Access.administrator`, which raises PermissionError, in words, for who may not."""


class Fleet(Protocol):
    """How everyone stands, at this moment."""

    @property
    def streams(self) -> Iterable[int]:
        """The open streams."""

    @property
    def tally(self) -> tuple[int, int, int]:
        """How many they are; how many have not got the newest revision; how many refuse something."""

    @property
    def clients(self) -> int:
        """How many different proxies are behind them."""

    def standing(self, stream: int) -> Standing | None:
        """How a stream stands; None if it is over."""

    def revision_named(self, name: str) -> str | None:
        """The revision that is or was in service by this name, or by the only one that begins so."""

    def missing(self, revision: str) -> Sequence[int]:
        """The streams that have neither it nor a newer one."""


class View(Protocol):
    """What else is asked of the application; only `settled` waits for anything."""

    @property
    def ready(self) -> bool:
        """The first load is complete."""

    @property
    def revision(self) -> str:
        """What is in service."""

    def problems(self) -> Sequence[Problem]:
        """All that is wrong now."""

    def held(self) -> Sequence[Problem]:
        """One for each document of which something else than the newest version is in service."""

    async def settled(self) -> None:
        """Return once everything that was saved before is decided on."""


class _Listener:
    """What one caller has not been told of yet."""

    def __init__(self) -> None:
        self.streams: dict[int, None] = {}
        self.findings = True
        self.news = asyncio.Event()


class Admin:
    """The service: hand `handler` to the Server. Told of what happens by `stirred` and `found`; `close` ends all calls."""

    def __init__(self, fleet: Fleet, view: View, permit: Permit) -> None:
        self._fleet = fleet
        self._view = view
        self._permit = permit
        self._listeners: set[_Listener] = set()
        self._closed = False
        self.services = (SERVICE.full_name,)
        self.handler = grpc.method_handlers_generic_handler(
            SERVICE.full_name,
            {
                "Status": grpc.unary_unary_rpc_method_handler(self._guarded(self._status), **_codec("Status")),
                "Watch": grpc.unary_stream_rpc_method_handler(self._guarded(self._watch), **_codec("Watch")),
                "Wait": grpc.unary_stream_rpc_method_handler(self._guarded(self._wait), **_codec("Wait")),
            },
        )

    @property
    def callers(self) -> int:
        """How many watch or wait."""
        return len(self._listeners)

    def stirred(self, streams: Iterable[int]) -> None:
        """These stand differently, are new or over; or something is different for all."""
        for listener in self._listeners:
            listener.streams.update(dict.fromkeys(streams))
            listener.news.set()

    def found(self) -> None:
        """There are other findings than before."""
        for listener in self._listeners:
            listener.findings = True
            listener.news.set()

    def close(self) -> None:
        """The server is about to stop."""
        self._closed = True
        for listener in self._listeners:
            listener.news.set()

    # -- the methods --

    async def _status(self, request: admin_pb2.StatusRequest, _: Context) -> admin_pb2.StatusResponse:
        standings: list[Standing] = []
        waiting = list(self._fleet.streams)
        while waiting:
            standings += (one for one in map(self._fleet.standing, waiting[:PORTION]) if one is not None)
            del waiting[:PORTION]
            await asyncio.sleep(0)  # whoever is served goes first
        standings.sort(key=lambda one: (one.is_newest, one.proxy.id, one.stream))
        response = admin_pb2.StatusResponse(summary=self._summary(), findings=_findings(self._view))
        listed = standings[: request.limit or None]
        for start in range(0, len(listed), PORTION):
            response.proxies.extend(map(_proxy, listed[start : start + PORTION]))
            await asyncio.sleep(0)
        return response

    async def _watch(self, _: admin_pb2.WatchRequest, context: Context) -> None:
        async with self._listening(context) as listener:
            listener.streams.update(dict.fromkeys(self._fleet.streams))
            while not self._closed:
                await self._ask(context)
                listener.news.clear()
                due, is_complete = len(listener.streams), False
                while not is_complete:
                    due -= PORTION  # what is stirred meanwhile is for the next time, or there might be no end
                    is_complete = due <= 0
                    await context.write(self._news(listener, is_complete))
                await asyncio.sleep(PACE)
                await listener.news.wait()
            await context.abort(grpc.StatusCode.UNAVAILABLE, SHUTTING_DOWN)

    def _news(self, listener: _Listener, is_complete: bool) -> admin_pb2.WatchResponse:
        response = admin_pb2.WatchResponse(summary=self._summary(), complete=is_complete)
        for stream in list(islice(listener.streams, PORTION)):
            del listener.streams[stream]
            standing = self._fleet.standing(stream)
            if standing is None:
                response.gone.append(stream)
            else:
                response.proxies.append(_proxy(standing))
        if is_complete and listener.findings:
            listener.findings = False
            response.findings.CopyFrom(_findings(self._view))
        return response

    async def _wait(self, request: admin_pb2.WaitRequest, context: Context) -> None:
        async with self._listening(context) as listener:
            wanted = request.revision
            if not wanted:
                await context.write(self._unsettled())
                await self._view.settled()
                wanted = self._view.revision
            while not self._closed:
                await self._ask(context)
                listener.news.clear()
                response = self._progress(wanted, request.proxies)
                await context.write(response)
                if response.done:
                    return
                await asyncio.sleep(PACE)
                await listener.news.wait()
            await context.abort(grpc.StatusCode.UNAVAILABLE, SHUTTING_DOWN)

    def _unsettled(self) -> admin_pb2.WaitResponse:
        held = map(_problem, self._view.held())
        return admin_pb2.WaitResponse(newest=self._view.revision, connected=self._fleet.clients, held=held)

    def _progress(self, wanted: str, proxies: int) -> admin_pb2.WaitResponse:
        fleet, view, response = self._fleet, self._view, self._unsettled()
        revision = fleet.revision_named(wanted)
        if not view.ready or revision is None:
            return response
        missing = fleet.missing(revision)
        for standing in filter(None, map(fleet.standing, missing[:MOST_MISSING])):
            why = "; ".join(standing.lacks) or "it is being looked at"
            response.missing.add(id=standing.proxy.id, revision=standing.revision, why=why)
        response.revision = revision
        response.missing_count = len(missing)
        response.done = not missing and response.connected >= proxies
        if response.done:
            response.errors.extend(_problem(one) for one in view.problems() if one.severity is Severity.ERROR)
        return response

    # -- who is told --

    def _guarded(self, method: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            await self._ask(context)
            return await method(request, context)

        return call

    async def _ask(self, context: Context) -> None:
        """Ends the call of somebody who may not, or may no longer, make it."""
        try:
            self._permit(context)
        except PermissionError as refusal:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(refusal))
        except Unauthenticated as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))

    @asynccontextmanager
    async def _listening(self, context: Context) -> AsyncIterator[_Listener]:
        """A listener as long as the block runs. There is room for so many only: each costs something at every change."""
        if len(self._listeners) >= MOST_LISTENERS:
            words = f"{MOST_LISTENERS} callers listen already"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, words)
        listener = _Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def _summary(self) -> admin_pb2.Summary:
        connected, behind, refusing = self._fleet.tally
        return admin_pb2.Summary(
            ready=self._view.ready, revision=self._view.revision, connected=connected, behind=behind,
            refusing=refusing,
        )  # fmt: skip


def _codec(method: str) -> dict[str, Any]:
    described = SERVICE.methods_by_name[method]
    taken, given = (getattr(admin_pb2, one.name) for one in (described.input_type, described.output_type))
    return {"request_deserializer": taken.FromString, "response_serializer": given.SerializeToString}


def _proxy(standing: Standing) -> admin_pb2.Proxy:
    of = standing.proxy
    made = admin_pb2.Proxy(
        stream=standing.stream, id=of.id, role=of.role, namespace=of.namespace, version=of.version,
        variant=of.variant, peer=of.peer, identity=of.identity, revision=standing.revision, synced=standing.is_newest,
        lacks=standing.lacks, types={short: _type(state) for short, state in of.types.items()},
    )  # fmt: skip
    if of.since is not None:
        made.since.FromMilliseconds(round(of.since * 1000))
    return made


def _type(of: TypeStatus) -> admin_pb2.TypeState:
    state = admin_pb2.TypeState(
        sent=of.sent, acked=of.acked, nacked=of.nacked, error=of.error, pending=of.pending, refused=of.refused
    )
    if of.since is not None:
        age = asyncio.get_running_loop().time() - of.since
        state.since.FromMilliseconds(round((time() - age) * 1000))
    return state


def _findings(view: View) -> admin_pb2.Findings:
    problems = sorted(view.problems(), key=lambda problem: problem.severity)
    return admin_pb2.Findings(
        held=map(_problem, view.held()),
        problems=map(_problem, problems[:MOST_PROBLEMS]),
        omitted=max(0, len(problems) - MOST_PROBLEMS),
    )


def _problem(of: Problem) -> admin_pb2.Problem:
    return admin_pb2.Problem(**of.as_json())
