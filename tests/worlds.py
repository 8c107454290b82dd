"""Worlds from YAML, for tests of what is behind the files."""

from __future__ import annotations

from collections.abc import Iterable

from legation.ingest import admission
from legation.model.meta import Key, Object
from legation.model.recall import Recall
from legation.model.world import Mesh, World
from legation.problems import Severity


def documents(text: str) -> list[Object]:
    """The decoded documents of a text, all of which must be good."""
    file = admission.understand("test.yaml", text)
    versions = [version for versions in file.versions.values() for version in versions]
    problems = [*file.problems, *(problem for version in versions for problem in version.problems)]
    assert not [str(problem) for problem in problems if problem.severity is Severity.ERROR]
    found = [version.object for version in versions if version.object is not None]
    assert len(found) == len(versions)
    return found


def world(*texts: str, mesh: Mesh = Mesh()) -> World:
    """A World of these documents."""
    made, _ = World(mesh).apply(item for text in texts for item in documents(text))
    return made


class Line:
    """A line of Worlds with a Recall that is carried along."""

    def __init__(self, *texts: str, mesh: Mesh = Mesh()) -> None:
        self.world = world(*texts, mesh=mesh)
        self.recall = Recall(self.world)

    def change(self, put: str | Iterable[Object] = (), removed: Iterable[Key] = ()) -> int:
        """The next World; returns how many units have run so far."""
        items = documents(put) if isinstance(put, str) else put
        self.world, facts = self.world.apply(items, removed)
        self.recall.advance(self.world, facts)
        return self.recall.runs
