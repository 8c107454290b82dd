"""The program: files are watched, read and admitted; what changes goes to the fleet. The only module with tasks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from time import monotonic, time
from typing import TypeVar, cast

from prometheus_client import CollectorRegistry

from legation import pipeline
from legation.console.metrics import Metrics
from legation.console.server import Console
from legation.fleet import Fleet
from legation.ingest import files, watch
from legation.ingest.admission import REFERENCE_PATIENCE, Admission, Decision, File, Version
from legation.journal import log, say
from legation.judge import Judge
from legation.keeping import Keeper
from legation.model import mesh
from legation.model.meta import Key, Object
from legation.model.world import World
from legation.problems import Problem, Severity, in_order
from legation.settings import Settings
from legation.status import ProxyStatus
from legation.stream.commands import Rejected
from legation.transport.access import Access
from legation.transport.admin import Admin
from legation.transport.control import Session
from legation.transport.csds import ClientStatus
from legation.transport.secure import Opened, opened
from legation.transport.server import Server

T = TypeVar("T")

CHANNEL = 1.0
"""Seconds between two looks at the files of the channel."""

LAG_EVERY = 0.5
"""Seconds between two looks at how late the event loop is."""

HELD_UP = 0.02
"""Seconds by which a timer of a process that gets the time it needs is never late."""


class Refused(Exception):
    """The server does not start; the problems say why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)


class App:
    """One server. `async with App(settings) as app` starts it (and raises Refused or OSError if it can't)."""

    def __init__(self, settings: Settings, told: Callable[[Problem, bool], None] | None = None) -> None:
        """`told` is called with every finding that is new, and with False with every one that is mended."""
        self.settings = settings
        self.xds: tuple[str, ...] = ()
        self.xds_over_tls: tuple[str, ...] = ()
        self.http: tuple[str, int] | None = None
        self.changed = asyncio.Condition()
        """Notified after every change of the World."""
        self._told = told or _log
        registry = CollectorRegistry()
        self._metrics = Metrics.on(registry)
        self._registry = registry
        self.fleet = Fleet(
            World(settings.mesh), self._metrics, self._on_refusal, settings.hook,
            secrets_on_loopback=settings.secrets_on_loopback,
        )  # fmt: skip
        self.admission = Admission(World(settings.mesh), settings.sources, allow_empty=settings.allow_empty)
        self._keeper = Keeper(self._told, self._report_soon)
        self._judge = Judge(self.fleet, lambda: self.admission, self._enact, self._keeper.keep_note)
        self._known: dict[Problem, None] = {}
        self._files: set[str] = set()
        self._tree_problems: tuple[Problem, ...] = ()
        self._patience: asyncio.TimerHandle | None = None
        self._passing: asyncio.Task[None] | None = None
        self._report: asyncio.TimerHandle | None = None
        self._hourly: asyncio.TimerHandle | None = None
        self._channel = Opened(Access())
        self._stack = contextlib.AsyncExitStack()
        self._on_findings: Callable[[], None] = lambda: None
        self._calm = asyncio.Event()

    async def __aenter__(self) -> App:
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        settings = self.settings
        self._loop = asyncio.get_running_loop()
        self._channel = opened(settings.secure, self._trust_domain, self._metrics.refused)
        door = self._channel.access
        admin = Admin(self.fleet.progress, self, door.administrator)
        self.fleet.on_stir = admin.stirred
        self._on_findings = admin.found
        self._metrics.callers.set_function(lambda: admin.callers)
        clients = ClientStatus(self.fleet, door.administrator)
        server = Server(
            self.fleet, access=door, handlers=[admin.handler, clients.handler],
            services=[*admin.services, *clients.services], turned_away=self._metrics.turned_away.inc,
        )  # fmt: skip
        self.xds = tuple(server.bind(address) for address in settings.xds)
        self.xds_over_tls = tuple(server.bind(*port) for port in self._channel.ports)
        await server.start()
        stack.push_async_callback(server.stop, settings.drain)
        stack.callback(admin.close)
        if settings.http is not None:
            console = await Console.start(self, self._registry, *settings.http)
            stack.push_async_callback(console.stop)
            self.http = (settings.http[0], console.port)
        if settings.traces is not None:
            self.fleet.progress.record = settings.traces.note
            stack.push_async_callback(asyncio.to_thread, settings.traces.close)
        self._metrics.follow(self.proxies)
        self.fleet.on_new_scope = self._report_soon
        self._metrics.watch_certificates(self._first_expiry)
        accepted: list[Version] = []
        if settings.state is not None:
            stack.callback(self._keeper.close)
            accepted = self._keeper.open(settings.state, settings.sources, keep_secrets=settings.keep_secrets)
            self.fleet.memory = self._keeper.served
            self._judge.recall(self._keeper.note)
        changes = watch.watch(
            settings.sources, poll=settings.poll, follow_outside=settings.follow_outside, ahead=self._look_ahead
        )
        stack.push_async_callback(changes.aclose)
        await anext(changes)  # the watch stands: what changes while we read comes as news
        decision = await _in_thread(lambda: self._load(accepted))
        self.fleet.load(decision.world, self.admission.revision, decision.before)
        stack.callback(self._judge.close)
        await self._advance(decision, monotonic())
        for work in (self._follow(changes), self._look_after_channel(), self._measure_lag()):
            stack.push_async_callback(_ended, asyncio.create_task(work))

    # -- the first load --

    def _load(self, accepted: list[Version]) -> Decision:
        """Reads everything, in a thread. No garbage is looked for meanwhile: what is made here stays."""
        gc.disable()
        try:
            settings = self.settings
            self.admission = Admission(
                World(settings.mesh), settings.sources, accepted, allow_empty=settings.allow_empty,
                fails_open=settings.ignore_security_kinds,
            )  # fmt: skip
            tree = files.read_tree(settings.sources, follow_outside=settings.follow_outside)
            decision = self._admit(tree, None)
            unprotected = self.admission.unprotected()
            if unprotected and not accepted and not settings.ignore_security_kinds:
                raise Refused(in_order(unprotected))
            return Decision(decision.world, frozenset(), again_at=decision.again_at, before=decision.before)
        finally:
            gc.enable()
            gc.freeze()

    # -- changes --

    def _look_ahead(self, path: str) -> None:
        """Reads and understands a file that was saved while it is not yet clear whether more will follow."""
        tree = files.read_files(self.settings.sources, (path,), follow_outside=self.settings.follow_outside)
        pipeline.understood(tree, self.settings.mesh_config)

    async def _follow(self, changes: AsyncIterator[watch.Changed]) -> None:
        """Every change of the files, as it comes."""
        async for change in changes:
            try:
                await self._take(change)
            except Exception:
                log.exception("a change could not be taken in; what was served stays")

    async def _take(self, change: watch.Changed) -> None:
        for problem in change.problems:
            self._told(problem, True)
        await self._keeper.written()
        roots, outside = self.settings.sources, self.settings.follow_outside
        if change.rescan:
            again = [root for root in roots if root != "-"]  # standard input has ended
            tree = await asyncio.to_thread(files.read_tree, again, follow_outside=outside)
            decision = self._admit(tree, self._files - {"-"})
        else:
            tree = files.read_files(roots, change.paths, follow_outside=outside)
            decision = self._admit(tree, change.paths)
        await self._advance(decision, change.at)

    def _admit(self, tree: files.Tree, paths: Iterable[str] | None) -> Decision:
        """Hands what was read to the admission; `paths` are those that were asked for, None for all there are."""
        asked = self._files if paths is None else self._files & {files.source(path) for path in paths}
        found = tree.files.keys() | tree.secrets.keys()
        gone = {path for path in asked if path not in found and not tree.unknown(path)}
        self._files -= gone
        self._files.update(found)
        self._tree_problems = tree.problems
        return self._step(pipeline.understood(tree, self.settings.mesh_config), gone)

    def _step(self, found: Iterable[File], gone: Iterable[str]) -> Decision:
        decision = self.admission.step(found, gone, monotonic())
        self._keeper.keep(decision)
        return decision

    async def _advance(self, decision: Decision, at: float) -> None:
        if decision.facts:
            self.fleet.advance(decision.world, decision.facts, self.admission.revision, at, decision.before)
            say(
                logging.INFO, "revision", f"revision {self.revision} is in service",
                revision=self.revision, seconds=round(monotonic() - at, 6),
            )  # fmt: skip
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._calm.set()
        if decision.again_at is not None:
            self._calm.clear()
            self._wait(max(0.0, decision.again_at - monotonic()))
        self._report_soon()
        if decision.facts:
            async with self.changed:
                self.changed.notify_all()

    def _wait(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(delay, self._patience_ends, loop.time() + delay)

    def _patience_ends(self, due: float) -> None:
        """It was silent, unless this process was held up: then what happened meanwhile is heard first."""
        if asyncio.get_running_loop().time() - due > HELD_UP:
            self._wait(REFERENCE_PATIENCE)
            return
        self._patience = None
        self._passing = asyncio.create_task(self._time_passed())

    async def _time_passed(self) -> None:
        try:
            await self._advance(self._step((), ()), monotonic())
        except Exception:
            log.exception("what had waited could not be taken in; what was served stays")

    async def supply(self, put: Iterable[Object], removed: Iterable[Key] = ()) -> None:
        """Documents that no file has: what `run` knows of the stand-ins that it started."""
        world, facts = self.admission.supply(put, removed)
        await self._advance(Decision(world, facts), monotonic())

    async def _enact(self, decision: Decision) -> None:
        """What was decided beside the files."""
        self._keeper.keep(decision)
        await self._advance(decision, monotonic())

    async def _measure_lag(self) -> None:
        """How late the loop is, twice a second: everything that is slow on it shows there."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self._metrics.lagged(loop.time() - due)

    # -- the channel --

    async def _look_after_channel(self) -> None:
        """Certificates, keys, tokens' keys and the policy follow their files; who may no longer be there goes."""
        told: list[Problem] = []
        while True:
            await asyncio.sleep(CHANNEL)
            try:
                await asyncio.to_thread(self._channel.access.look)
                await self._see_who_must_go(self._channel.access.is_new())
            except Exception:
                log.exception("the files of the channel could not be looked at; what was in force stays")
            if told != (told := self._channel.access.problems):
                self._report_soon()

    async def _see_who_must_go(self, is_new: bool) -> None:
        now = time()
        for number, session in enumerate(self.fleet.sessions):
            if is_new or session.peer.expires <= now:
                end = self._channel.access.still(session.peer, session.proxy)
                if end is not None:
                    session.close(*end)
            if not number % 500:
                await asyncio.sleep(0)  # whoever is served goes first

    def _first_expiry(self) -> float | None:
        """Of all certificates: those in Secrets, and the server's own (epoch)."""
        found = (pipeline.first_expiry(self.fleet.recall), (self._channel.expires or ("", None))[1])
        return min((at for at in found if at is not None), default=None)

    def _trust_domain(self) -> str:
        return str(self.fleet.recall.ask(mesh.setting, "trust_domain"))

    # -- what is told --

    @property
    def ready(self) -> bool:
        return self.fleet.is_loaded

    @property
    def revision(self) -> str:
        return self.fleet.revision

    def proxies(self) -> list[ProxyStatus]:
        return self.fleet.proxies()

    def problems(self) -> list[Problem]:
        found = [*self._tree_problems, *self.admission.problems(), *self.fleet.problems()]
        found += [*self._keeper.problems, *self._judge.problems(), *self._channel.access.problems]
        if (expires := self._channel.expires) is not None:
            found += pipeline.channel_expiring(*expires, time())
        recall, scopes = self.fleet.recall, self.fleet.scopes
        found += pipeline.analysed(recall, self.admission, scopes)
        return in_order([*found, *pipeline.expiring(recall, self.admission, time())])

    def held(self) -> list[Problem]:
        return in_order([*self.admission.held(), *self._judge.problems()])

    def _on_refusal(self, session: Session, refusal: Rejected) -> None:
        self._judge.on_refusal(session, refusal)

    async def settled(self) -> None:
        """Returns once what was saved before is decided on: it was heard of, and nothing waits for its patience."""
        await asyncio.sleep(watch.LONGEST)
        await self._calm.wait()

    def _report_soon(self) -> None:
        """Telling can wait until what was saved is on its way."""
        if self._report is None:
            self._report = asyncio.get_running_loop().call_later(0.02, self._tell)

    def _tell(self) -> None:
        """Tells what is new since the last time, and what is mended; again in an hour, since certificates expire."""
        self._report = None
        if self._hourly is not None:
            self._hourly.cancel()
        self._hourly = asyncio.get_running_loop().call_later(3600, self._report_soon)
        now = dict.fromkeys(self.problems())
        for problem in self._known:
            if problem not in now:
                self._told(problem, False)
        for problem in now:
            if problem not in self._known:
                self._told(problem, True)
        self._known = now
        self._on_findings()
        self._metrics.reported(len(self.admission.accepted), len(self.held()), now)


def _log(problem: Problem, is_new: bool) -> None:
    if not is_new:
        say(logging.INFO, "mended", f"mended: {problem}", problem=problem.as_json())
        return
    levels = {Severity.ERROR: logging.ERROR, Severity.WARNING: logging.WARNING, Severity.INFO: logging.INFO}
    say(levels[problem.severity], "problem", str(problem), problem=problem.as_json())


async def _in_thread(work: Callable[[], T]) -> T:
    """Like `asyncio.to_thread`, but who is cancelled goes at once, and so may the program: standard input may never end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(value: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(cast("T", value))

    def run() -> None:
        value, error = None, None
        try:
            value = work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, value, error)

    threading.Thread(target=run, name="legation-load", daemon=True).start()
    return await done


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
