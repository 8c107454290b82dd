"""Refusals acted on: they are told with the documents behind them, and where the documents are to blame those go back to
what was taken last. The decisions are those of `refusals`; here is the clock, the second opinion and the memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from itertools import islice
from time import monotonic, time
from typing import Final

from legation import names, pipeline
from legation.fleet import Fleet
from legation.ingest import kinds
from legation.ingest.admission import REFUSED, Admission, Decision, Version
from legation.journal import log, say
from legation.local import envoy, static
from legation.local.verdict import verdict
from legation.model.meta import Key
from legation.problems import Problem, Severity
from legation.refusals import Case
from legation.snapshot.snapshot import Ref, Resource, Snapshot
from legation.stream.commands import Rejected
from legation.stream.proofs import Refused
from legation.transport.control import Session

NOTE: Final = "refusals"
"""Under which name the memory is kept."""
MANY: Final = 8
"""More documents than this are not held back for one refusal: most of them would be innocent."""
QUESTIONS: Final = 8
"""How many contents may wait for a second opinion; who refuses everything gets none for the rest."""
WORDS: Final = 600
"""Characters of a client's words that are repeated."""


class Judge:
    """`admission` is asked for anew each time; `enact` puts a decision into service and on the disk; `keep` remembers a text
    over a restart.
    """

    def __init__(
        self,
        fleet: Fleet,
        admission: Callable[[], Admission],
        enact: Callable[[Decision], Awaitable[None]],
        keep: Callable[[str], None],
    ) -> None:
        self._fleet = fleet
        self._admission = admission
        self._enact = enact
        self._keep = keep
        self._held: dict[tuple[str, str], frozenset[Key]] = {}
        self._unresolved: dict[Ref, tuple[Case, Problem]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._asking = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        fleet.on_known_bad = self._on_known_bad
        fleet.on_lifted = self._on_lifted

    def problems(self) -> list[Problem]:
        """What is refused and cannot be traced to few enough documents to hold them back."""
        for ref, (case, _) in list(self._unresolved.items()):
            if not self._fleet.audience(case):
                del self._unresolved[ref]
        return [problem for _, problem in self._unresolved.values()]

    def on_refusal(self, session: Session, refusal: Rejected) -> None:
        """A NACK: told at once, with the client's words and the documents behind what it names."""
        self._tell(session, refusal)
        if len(refusal.names) != 1 or not refusal.resources:
            return  # each follows alone
        (resource,) = refusal.resources
        case = self._fleet.refuse(session, resource, refusal.message)
        if case is not None:
            self._start(self._look(case, self._fleet.snapshot(session)))

    # -- deciding --

    async def _look(self, case: Case, snapshot: Snapshot) -> None:
        await self._decide()
        if case.is_held or case.is_asked or self._asking >= QUESTIONS:
            return
        case.is_asked = True
        self._asking += 1
        try:
            async with self._one_at_a_time:
                case.seconded = await _is_refused_here(snapshot, case)
        finally:
            self._asking -= 1
        await self._decide()

    async def _decide(self) -> None:
        now = monotonic()
        for case in self._fleet.refusals.decide(now, self._fleet.audience):
            await self._hold(case)
        if self._timer is not None:
            self._timer.cancel()
        again = self._fleet.refusals.again_at(now)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(again - now, lambda: self._start(self._decide())) if again is not None else None

    async def _hold(self, case: Case) -> None:
        """The documents behind a case go back to what was taken last."""
        resource, admission = case.resource, self._admission()
        short = names.SHORT_TYPE.get(resource.type_url, resource.type_url)
        said = f"Envoy refuses the {_CALLED.get(short, short)} {resource.name}: {_brief(case.words)}"
        suspects = self._fleet.ledger.suspects(resource)
        back = {key: (earlier, said) for key, earlier in suspects.items() if _may_go(admission, key, earlier)}
        if not back or len(back) > MANY:
            told = f"{said}; what may be to blame is not held back: {_listed(resource.origins)}"
            problem = Problem(Severity.ERROR, REFUSED, told, hint="mend it: another version is tried at once")
            self._unresolved[resource.type_url, resource.name] = case, problem
            return
        self._held[resource.version, case.kind[1]] = frozenset(back)
        self._remember()
        await self._enact(admission.refuse(back))

    def _on_known_bad(self, case: Case) -> None:
        """It is not sent, so nobody will refuse it: the documents go back at once."""
        if not case.is_held:
            case.is_held = True
            self._start(self._hold(case))

    def _on_lifted(self, cases: list[Case]) -> None:
        self._start(self._lift(cases))

    async def _lift(self, cases: list[Case]) -> None:
        """Somebody took it: what was held for it is in service again, unless something else holds it."""
        freed: set[Key] = set()
        for case in cases:
            freed |= self._held.pop((case.resource.version, case.kind[1]), frozenset())
            self._unresolved.pop((case.resource.type_url, case.resource.name), None)
        self._remember()
        still = frozenset[Key]().union(*self._held.values())
        if freed - still:
            await self._enact(self._admission().absolve(freed - still, monotonic()))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        async def run() -> None:
            try:
                await work
            except Exception:
                log.exception("a refusal could not be acted on")

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Nothing is decided any more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    # -- remembering --

    def _remember(self) -> None:
        ahead = time() - monotonic()
        rows = [
            [*kind, version, *refused.ref, _brief(refused.words), refused.tries, refused.again + ahead]
            for kind, bad in self._fleet.refusals.remembered().items()
            for version, refused in bad.items()
        ]
        self._keep(json.dumps(rows))

    def recall(self, text: str | None) -> None:
        """What an earlier server kept. What cannot be read is left out: it would be refused once more."""
        behind = monotonic() - time()
        with suppress(ValueError, TypeError):
            for client, of, version, url, name, words, tries, again in json.loads(text or "[]"):
                refused = Refused((str(url), str(name)), str(words), int(tries), float(again) + behind)
                self._fleet.refusals.remember((str(client), str(of)), str(version), refused)

    # -- telling --

    def _tell(self, session: Session, refusal: Rejected) -> None:
        keys = dict.fromkeys(key for resource in refusal.resources for key in resource.origins)
        places = [pipeline.place(self._admission(), key)(()) for key in keys]
        behind = ", ".join(f"{key} ({file}:{line})" for key, (file, line, _) in zip(keys, places, strict=True))
        short = names.SHORT_TYPE.get(refusal.type_url, refusal.type_url)
        said = f"{session.proxy.id} refuses {short.upper()} {', '.join(refusal.names) or refusal.version}"
        say(
            logging.ERROR, "nack", f"{said}: {refusal.message}{f'; from {behind}' if behind else ''}",
            proxy=session.proxy.id, type=short, version=refusal.version, nonce=refusal.nonce,
            resources=list(refusal.names), error=refusal.message, revision=self._fleet.revision,
            documents=[
                {"object": str(key), "file": file, "line": line}
                for key, (file, line, _) in zip(keys, places, strict=True)
            ],
        )  # fmt: skip


_CALLED: Final = {"lds": "listener", "rds": "route table", "cds": "cluster", "eds": "load assignment", "sds": "secret"}


def _brief(words: str) -> str:
    return " ".join(words.split())[:WORDS]


def _listed(keys: Collection[Key]) -> str:
    told = [str(key) for key in islice(keys, MANY)]
    return ", ".join(told) + (f" and {len(keys) - len(told)} more" if len(keys) > len(told) else "") or "no document"


def _may_go(admission: Admission, key: Key, earlier: Version | None) -> bool:
    """Whether a document may go back: what protects never goes out of service, and stays refused instead."""
    serving = admission.accepted.get(key)
    if serving is None or earlier is not None:
        return serving is not earlier
    return not kinds.protects(key.kind, serving.document.value)


async def _is_refused_here(snapshot: Snapshot, case: Case) -> bool:
    """Whether the Envoy of this machine refuses it too. False where there is none, and for what only a live one can say."""
    asked = _around(snapshot, case)
    if asked is None:
        return False
    try:
        envoy.find()
        return bool(await asyncio.to_thread(verdict, static.bootstrap(asked)))
    except envoy.EnvoyMissing:
        return False


def _around(snapshot: Snapshot, case: Case) -> Snapshot | None:
    """The resource, and what Envoy must see with it."""
    url, name = case.resource.type_url, case.resource.name
    listeners, clusters = snapshot.of(names.LISTENER), snapshot.of(names.CLUSTER)
    if snapshot.of(url).get(name) is not case.resource:
        return None
    heard: dict[str, Resource] = {}
    if url == names.CLUSTER:
        chosen = {name}
    elif url == names.ENDPOINT:
        chosen = {one for one, found in clusters.items() if (url, name) in found.refs}
    elif url in (names.LISTENER, names.ROUTE):
        heard = {one: found for one, found in listeners.items() if case.resource is found or (url, name) in found.refs}
        tables = (
            snapshot.of(kind).get(to) for found in heard.values() for kind, to in found.refs if kind == names.ROUTE
        )
        named = [*heard.values(), *filter(None, tables)]
        chosen = {to for found in named for kind, to in found.refs if kind == names.CLUSTER and to in clusters}
    else:
        return None
    asked = {names.LISTENER: heard, names.CLUSTER: {one: clusters[one] for one in chosen}}
    return Snapshot({**snapshot.resources, **asked})
