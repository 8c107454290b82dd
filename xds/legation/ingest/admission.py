"""Which version of each document is in service: a state machine, files in, decisions out.

Isolation is by document: one that cannot be read, decoded or trusted keeps the version that was accepted last, whatever
else is in its file; one that was never good is left out. A change that looks like an accident waits. Time comes in as an
argument; see docs/decisions/0002-isolation.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from typing import Final

from legation.ingest import decode, documents, kinds, mesh_config, protection
from legation.ingest.documents import At, Document
from legation.model import analysis
from legation.model.meta import Key, Object
from legation.model.recall import Reader, Recall
from legation.model.world import Fact, World
from legation.problems import Problem, Severity

REFERENCE_PATIENCE: Final = 0.1
"""Seconds of silence that a version which loses a reference waits for: the rest of a checkout may bring it."""
REMOVAL_PATIENCE: Final = 2.0
"""Seconds of silence that a mass removal waits for."""
FEW: Final = 5
"""Removing up to this many documents is always a wish."""

TWICE = "LEG0103"
HELD = "LEG0501"
WAITING = "LEG0502"
REMOVAL_WAITS = "LEG0503"
LEFT_OUT = "LEG0504"
UNPROTECTED = "LEG0505"
REFUSED = "LEG0506"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a document, decoded; `object` is None if it must not be served."""

    document: Document
    object: Object | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was read last. `complete`: every part of it could be read and identified. `blank`: nothing is in it,
    not even a comment."""

    path: str
    versions: Mapping[Key, tuple[Version, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    complete: bool = True
    blank: bool = False

    def all_problems(self) -> tuple[Problem, ...]:
        """Those of the file and those of its documents."""
        of_documents = (version.problems for versions in self.versions.values() for version in versions)
        return (*self.problems, *chain.from_iterable(of_documents))


@lru_cache(maxsize=16)  # a file is often understood before it is known whether more will follow
def understand(path: str, text: str | None, unreadable: Problem | None = None, *, is_mesh_config: bool = False) -> File:
    """A file's text, understood as far as it goes; `is_mesh_config` says that what has no kind is a MeshConfig. Never
    raises.
    """
    if text is None:
        return File(path, problems=(unreadable,) if unreadable else (), complete=False)
    reading = documents.read(path, text)
    versions: dict[Key, tuple[Version, ...]] = {}
    problems, complete = list(reading.problems), reading.complete
    found_documents, unread = mesh_config.unwrapped(reading.documents, is_mesh_config)
    problems, complete = problems + unread, complete and not unread
    for document in found_documents:
        key = decode.identify(document)
        item, found = decode.decode(document)
        if key is None:
            problems += found
            complete = complete and not any(problem.severity is Severity.ERROR for problem in found)
            continue
        version = Version(document, item if document.sound else None, tuple(found))
        versions[key] = (*versions.get(key, ()), version)
    return File(path, versions, tuple(problems), complete, reading.blank)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a step did: the World now, how it differs, what to keep on disk, and when to ask again (None: no need).

    `before` has, for every document that is another now, the version that was in service (None: none was).
    """

    world: World
    facts: frozenset[Fact]
    put: tuple[Version, ...] = ()
    removed: tuple[Key, ...] = ()
    again_at: float | None = None
    before: Mapping[Key, Version | None] = field(default_factory=dict)


class Admission:
    """Holds every file's last reading and every document's accepted version.

    `accepted` are the versions of an earlier run; they are in service until the files say otherwise. What came from one
    of the `roots` stays when that has no files at all any longer, unless `allow_empty`. With `fails_open` nothing waits
    for a document that should protect it.
    """

    def __init__(
        self, world: World, roots: Collection[str], accepted: Iterable[Version] = (), *, allow_empty: bool = False,
        fails_open: bool = False,
    ) -> None:  # fmt: skip
        self.accepted: dict[Key, Version] = {
            version.object.key: version for version in accepted if version.object is not None
        }
        self.world, _ = world.apply(version.object for version in self.accepted.values() if version.object)
        self._roots = () if allow_empty else tuple(roots)
        self._files: dict[str, File] = {}
        self._claims: dict[Key, dict[str, tuple[Version, ...]]] = {}
        # What is wrong is looked at after every change, and is little: files with problems, documents with rivals.
        self._faulty: dict[str, tuple[Problem, ...]] = {}
        self._contested: set[Key] = set()
        self._undecided: set[Key] = set(self.accepted)
        self._waits_for_file: dict[Key, frozenset[str]] = {}
        self._fails_open = fails_open
        self._unprotected_by: dict[Key, Key] = {}
        self._calm_at = 0.0
        self._notes: dict[Key, Problem] = {}
        self._refused: dict[Key, tuple[Object | None, Problem]] = {}
        self._announcement: Problem | None = None
        self._sum = sum(map(_weight, self.accepted.values()))

    # -- what is told --

    @property
    def revision(self) -> str:
        """The name of what is in service: a hash of the accepted documents, wherever they stand."""
        return f"{self._sum % (1 << 64):016x}"

    def problems(self) -> list[Problem]:
        """Everything that is wrong with the files now."""
        of_files = (problem for problems in self._faulty.values() for problem in problems)
        return [*of_files, *self._twice(), *self.held()]

    @property
    def count(self) -> int:
        """How many documents were read, good or bad."""
        return sum(len(versions) for file in self._files.values() for versions in file.versions.values())

    def held(self) -> list[Problem]:
        """The documents whose newest version is not in service, and why."""
        return [*([self._announcement] if self._announcement else []), *self._notes.values()]

    def unprotected(self) -> list[Problem]:
        """What should protect and is not in service at all."""
        return [
            problem
            for key, claims in self._claims.items()
            if key not in self.accepted
            for versions in claims.values()
            for version in versions
            if kinds.protects(key.kind, version.document.value)
            for problem in version.problems
            if problem.severity is Severity.ERROR
        ]

    # -- what is decided --

    def step(self, files: Iterable[File], gone: Iterable[str], now: float, *, lost: Collection[str] = ()) -> Decision:
        """Takes in files that were read again and files that are gone.

        `lost` are directories that are empty or unreadable all of a sudden: what came from them stays. A call without
        files says that time has passed.
        """
        changed: set[str] = set()
        touched = set(self._undecided)
        is_start = not self.accepted  # with nothing in service, what is unprotected refuses the start
        for file in files:
            changed.add(file.path)
            touched |= self._replace(file)
        for path in gone:
            if path in self._files:
                changed.add(path)
                touched |= self._replace(None, path)
        touched |= {key for key, protector in self._unprotected_by.items() if protector in touched}
        if changed:
            self._calm_at = now
        broken = frozenset(path for path in changed if path in self._files and not self._files[path].complete)
        lost = tuple(root for root in self._roots if not any(_inside(path, root) for path in self._files))
        put: dict[Key, Version] = {}
        removed: set[Key] = set()
        kept: set[Key] = set()
        moved: list[Version] = []
        for key in touched:
            self._notes.pop(key, None)
            version = self._wanted(key)
            if self._is_refused(key, version):
                self._notes[key] = self._refused[key][1]
            elif version is not None and version.object is not None:
                self._waits_for_file.pop(key, None)
                serving = self.accepted.get(key)
                if serving is not None and serving.object == version.object:
                    self._sum += _weight(version) - _weight(serving)
                    self.accepted[key] = version  # the same, perhaps in another place
                    moved += [version] if serving.document != version.document else []
                else:
                    put[key] = version
            elif version is not None:
                self._hold(key, version.document)
            elif key in self.accepted and self._kept(key, broken, lost):
                kept.add(key)
            elif key in self.accepted:
                removed.add(key)
        if not (is_start or self._fails_open):
            self._hold_unprotected(put, touched)
        self._undecided = kept
        if self._is_mass_removal(removed, now):
            self._undecided |= put.keys() | removed
            return Decision(self.world, frozenset(), tuple(moved), again_at=self._calm_at + REMOVAL_PATIENCE)
        return self._apply(put, removed, moved, now)

    def refuse(self, back: Mapping[Key, tuple[Version | None, str]]) -> Decision:
        """These documents make what a proxy refuses, in the words given: each goes back to an earlier version, or out of
        service, until the files have another one or `absolve` is called. What has changed since is left alone.
        """
        put: dict[Key, Version] = {}
        removed: set[Key] = set()
        for key, (earlier, words) in back.items():
            serving = self.accepted.get(key)
            refused = serving.object if serving is not None else None
            if earlier is None and serving is None:
                continue
            self._refused[key] = refused, self._blame(key, serving, earlier, words)
            self._notes[key] = self._refused[key][1]
            if earlier is not None:
                put[key] = earlier
            else:
                removed.add(key)
        world, facts = self.world.apply([one.object for one in put.values() if one.object is not None], removed)
        return self._enacted(world, facts, put, removed, [], None)

    def absolve(self, keys: Iterable[Key], now: float) -> Decision:
        """A proxy took what these make: they are in service again, as the files have them."""
        freed = {key for key in keys if self._refused.pop(key, None) is not None}
        self._undecided |= freed
        return self.step((), (), now)

    def _is_refused(self, key: Key, version: Version | None) -> bool:
        """Whether a proxy refuses what this very version makes. Another one counts as new, and is tried."""
        if key not in self._refused:
            return False
        refused, _ = self._refused[key]
        if (version.object if version is not None else None) == refused:
            return True
        del self._refused[key]
        return False

    def _blame(self, key: Key, refused: Version | None, earlier: Version | None, words: str) -> Problem:
        document = (refused or earlier or self.accepted[key]).document
        line, column = document.position(())
        if refused is None:
            kept = "it is still in service"
        elif earlier is None:
            kept = "it is left out"
        else:
            where = f"{earlier.document.file}:{earlier.document.position(())[0]}"
            kept = f"the version that was taken last (from {where}) is in service"
        said, hint = f"{words}; {kept}", "another version of it is tried at once"
        return Problem(Severity.ERROR, REFUSED, said, document.file, line, column, str(key), "", hint)

    def supply(self, put: Iterable[Object], removed: Iterable[Key]) -> tuple[World, frozenset[Fact]]:
        """Puts objects into the World that no file has."""
        self.world, facts = self.world.apply(put, removed)
        return self.world, facts

    def _replace(self, file: File | None, path: str = "") -> set[Key]:
        """Puts a file's new reading in the place of its old one; returns the documents that this may concern."""
        path = file.path if file is not None else path
        old = self._files.pop(path, None)
        for key in old.versions if old else ():
            self._claims[key].pop(path, None)
            if not self._claims[key]:
                del self._claims[key]
        touched = set(old.versions if old else ())
        if file is not None:
            self._files[path] = file
            for key, versions in file.versions.items():
                self._claims.setdefault(key, {})[path] = versions
            touched |= file.versions.keys()
        self._faulty.pop(path, None)
        if file is not None and (problems := file.all_problems()):
            self._faulty[path] = problems
        for key in touched:
            rivals = sum(map(len, self._claims.get(key, {}).values()))
            (self._contested.add if rivals > 1 else self._contested.discard)(key)
        return touched

    def _wanted(self, key: Key) -> Version | None:
        """The version that the files ask for: of several the one that is in service already, else the first path's."""
        claims = self._claims.get(key)
        if not claims:
            return None
        serving = self.accepted.get(key)
        path = serving.document.file if serving is not None and serving.document.file in claims else min(claims)
        return claims[path][0]

    def _kept(self, key: Key, broken: frozenset[str], lost: tuple[str, ...]) -> bool:
        """Whether a document that no file has any longer stays all the same."""
        origin = self.accepted[key].document.file
        file = self._files.get(origin)
        if any(_inside(origin, root) for root in lost):
            said = "its directory is empty or unreadable all of a sudden"
            self._note(key, HELD, said, "bring the files back, or start with --allow-empty")
            return True
        if file is not None and (file.blank or not file.complete):
            why = "is empty" if file.blank else "has a part that cannot be read"
            self._note(key, HELD, f"its file {why}", "mend the file; a comment in it, or no file, removes the document")
            return True
        waits = self._waits_for_file.get(key, broken)
        still = frozenset(path for path in waits if path in self._files and not self._files[path].complete)
        if still:
            self._waits_for_file[key] = still
            listed = ", ".join(sorted(still))
            self._note(key, HELD, f"it went in the same change in which {listed} became unreadable", "mend that file")
            return True
        self._waits_for_file.pop(key, None)
        return False

    def _hold(self, key: Key, at: Document) -> None:
        serving = self.accepted.get(key)
        if serving is None:
            self._note(key, LEFT_OUT, "it is left out until its errors are mended", "", at)
        else:
            where = f"{serving.document.file}:{serving.document.line}"
            self._note(key, HELD, f"the version that was accepted last (from {where}) stays in service", "", at)

    def _hold_unprotected(self, put: dict[Key, Version], touched: set[Key]) -> None:
        """Takes what is new out of `put` if it came with a document that should protect it and can't be put in force."""
        before = {key: self._unprotected_by.pop(key) for key in touched if key in self._unprotected_by}
        broken = {key: version for key in {*touched, *before.values()} if (version := self._broken_protector(key))}
        if not broken:
            return
        new = [version.object for key, version in put.items() if key not in self.accepted and version.object]
        same_change = {key: version.document for key, version in broken.items() if key in touched}
        waiting = protection.waiting(new, same_change, self.world)
        waiting |= {key: protector for key, protector in before.items() if key in put and protector in broken}
        for key, protector in waiting.items():
            self._unprotected_by[key] = protector
            where = f"{broken[protector].document.file}:{broken[protector].document.line}"
            said = f"it waits for {protector} ({where}), which should protect it and cannot be put in force"
            self._note(key, UNPROTECTED, said, "mend that document, or remove it", put.pop(key).document)

    def _broken_protector(self, key: Key) -> Version | None:
        """What a document says that should protect, is not in service, and cannot be put there."""
        version = self._wanted(key) if key not in self.accepted else None
        if version is None or version.object is not None or not kinds.protects(key.kind, version.document.value):
            return None
        return version if any(problem.severity is Severity.ERROR for problem in version.problems) else None

    def _note(self, key: Key, code: str, message: str, hint: str, at: Document | None = None) -> None:
        document = at or self.accepted[key].document
        severity = Severity.WARNING
        self._notes[key] = Problem(severity, code, message, document.file, document.line, 1, str(key), "", hint)

    def _is_mass_removal(self, removed: set[Key], now: float) -> bool:
        """Whether more goes at once than anyone would wish without a pause."""
        self._announcement = None
        if len(removed) <= FEW or len(removed) * 2 <= len(self.accepted):
            return False
        if now >= self._calm_at + REMOVAL_PATIENCE:
            return False
        share = f"{len(removed)} of {len(self.accepted)} documents"
        said = f"a change removes {share}; it waits for {REMOVAL_PATIENCE:g} s of silence"
        self._announcement = Problem(Severity.WARNING, REMOVAL_WAITS, said, hint="bring the files back to undo it")
        return True

    def _apply(self, put: dict[Key, Version], removed: set[Key], moved: list[Version], now: float) -> Decision:
        again_at: float | None = None
        while True:
            items = [version.object for version in put.values() if version.object is not None]
            world, facts = self.world.apply(items, removed)
            waiting = self._losing_references(put, world)
            if not waiting:
                break
            patient = now >= self._calm_at + REFERENCE_PATIENCE
            postponed = {key for key, missing in waiting.items() if not patient or self._is_held_elsewhere(missing)}
            if not postponed:
                break
            for key in postponed:
                missing = ", ".join(f"{what} {' '.join(names)}" for what, names in sorted(waiting[key]))
                self._note(key, WAITING, f"the new version waits for {missing}", "", put.pop(key).document)
            self._undecided |= postponed
            if not patient:
                again_at = self._calm_at + REFERENCE_PATIENCE
        return self._enacted(world, facts, put, removed, moved, again_at)

    def _enacted(
        self, world: World, facts: frozenset[Fact], put: dict[Key, Version], removed: set[Key], moved: list[Version],
        again_at: float | None,
    ) -> Decision:  # fmt: skip
        before = {key: self.accepted.get(key) for key in (*put, *removed)}
        self.world = world
        self._sum += sum(map(_weight, put.values()))
        self._sum -= sum(_weight(self.accepted[key]) for key in (*removed, *put) if key in self.accepted)
        for key in removed:
            del self.accepted[key]
        self.accepted.update(put)
        return Decision(world, facts, (*put.values(), *moved), tuple(removed), again_at, before)

    def _losing_references(self, put: Mapping[Key, Version], world: World) -> dict[Key, set[_Missing]]:
        """The new versions that name something which does not exist, where the accepted one did not."""
        found: dict[Key, set[_Missing]] = {}
        recall = Recall(world)
        for key, version in put.items():
            serving = self.accepted.get(key)
            if serving is None or serving.object is None or version.object is None:
                continue
            missing = recall.ask(_missing, version.object.key)
            if missing:
                missing = missing - Recall(self.world).ask(_missing, key)
            if missing:
                found[key] = set(missing)
        return found

    def _is_held_elsewhere(self, missing: Iterable[_Missing]) -> bool:
        """Whether what is missing may be in a document that is not served, or in a part that cannot be read."""
        if any(not file.complete for file in self._files.values()):
            return True
        definers = {
            "host": ("Service", "ServiceEntry"), "subset": ("DestinationRule",), "gateway": ("Gateway",),
            "delegate": ("VirtualService",), "secret": ("Secret",),
        }  # fmt: skip
        kinds_needed = {kind for what, _ in missing for kind in definers[what]}
        return any(key.kind in kinds_needed for key, note in self._notes.items() if note.code in (HELD, LEFT_OUT))

    def _twice(self) -> Iterable[Problem]:
        for key in self._contested:
            claims = self._claims[key]
            everywhere = [version for path in sorted(claims) for version in claims[path]]
            wanted = self._wanted(key)
            assert wanted is not None
            for version in everywhere:
                if version is not wanted:
                    line, column = version.document.position(("metadata", "name"), At.VALUE)
                    other = f"{wanted.document.file}:{wanted.document.line}"
                    said = f"this document is also in {other}, which is the one that counts"
                    yield Problem(
                        Severity.ERROR, TWICE, said, version.document.file, line, column, str(key), "metadata.name",
                        "remove one of them, or give it another name",
                    )  # fmt: skip


def _weight(version: Version) -> int:
    """A document's share of the revision; sums need no order and change with one term."""
    return int.from_bytes(blake2b(version.document.source.encode(), digest_size=8).digest(), "big")


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


_Missing = tuple[str, tuple[str, ...]]


def _missing(reader: Reader, key: Key) -> frozenset[_Missing]:
    """What a document names and nothing defines (a unit)."""
    items = reader.get(key.kind, (key.namespace, key.name))
    return frozenset(reference.identity for item in items for reference in analysis.dangling(reader, item))
