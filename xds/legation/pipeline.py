"""The compiler, each stage once: texts and a proxy in, a Snapshot and Problems out.

`validate`, `render` and the golden tests call this. The server calls the same stages, but remembers between changes
(`app.py`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

from legation.ingest import admission, files
from legation.ingest.admission import Admission, File
from legation.model import analysis
from legation.model.findings import Finding
from legation.model.meta import Key
from legation.model.proxy import Proxy
from legation.model.recall import Recall
from legation.model.world import Mesh, World
from legation.problems import Problem, dotted, in_order
from legation.render import resources
from legation.snapshot.snapshot import Snapshot


def understood(tree: files.Tree, mesh_config: str | None = None) -> list[File]:
    """The files of a tree, understood; `mesh_config` is the path of the one that holds the mesh's configuration."""
    place = os.path.realpath(mesh_config) if mesh_config is not None else ""
    return [
        admission.understand(
            raw.path, raw.text, raw.problem, is_mesh_config=bool(place) and os.path.realpath(raw.path) == place
        )
        for raw in tree.files.values()
    ]


def accept(tree: files.Tree, mesh: Mesh, mesh_config: str | None = None) -> Admission:
    """What a server that starts with nothing else would take into service, after all its patience."""
    admitted = Admission(World(mesh), roots=())
    admitted.step(understood(tree, mesh_config), (), now=-math.inf)
    return admitted


def problems(tree: files.Tree, admitted: Admission, recall: Recall) -> list[Problem]:
    """Everything there is to say about the files, in order."""
    return in_order([*tree.problems, *admitted.problems(), *analysed(recall, admitted)])


def analysed(recall: Recall, admitted: Admission) -> list[Problem]:
    """What the documents in service say about each other, with its place in the files."""
    return [placed(finding, admitted) for finding in recall.ask(analysis.everything).union(tuple)]


def placed(finding: Finding, admitted: Admission) -> Problem:
    """A finding as a Problem of the file that its document was accepted from."""
    file, line, column = place(admitted, finding.key)(finding.path)
    version = admitted.accepted.get(finding.key)
    path = dotted(version.document.written(finding.path) if version is not None else finding.path)
    other = ""
    if finding.other is not None:
        theirs = place(admitted, finding.other)(())
        other = f"{theirs[0]}:{theirs[1]}" if theirs[0] else ""
    return Problem(
        finding.severity, finding.code, finding.message, file, line, column, str(finding.key), path, finding.hint, other
    )


def place(admitted: Admission, key: Key) -> Callable[[tuple[str | int, ...]], tuple[str, int, int]]:
    """Where the entries of a document in service stand: path → file, line, column."""
    version = admitted.accepted.get(key)
    if version is None:
        return lambda _: ("", 0, 0)
    document = version.document
    return lambda path: (document.file, *document.position(path))


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a proxy would be served, and what is wrong with the files."""

    snapshot: Snapshot
    problems: list[Problem]
    admitted: Admission


def compile(
    tree: files.Tree, proxy: Proxy, mesh: Mesh = Mesh(), mesh_config: str | None = None
) -> Compiled:
    """The whole way for one proxy."""
    admitted = accept(tree, mesh, mesh_config)
    recall = Recall(admitted.world)
    scope = proxy.scope(label_keys(admitted.world))
    rendered, _ = resources.render(recall, scope, resources.Rendered(Snapshot()), revision="")
    return Compiled(rendered.snapshot, problems(tree, admitted, recall), admitted)


def label_keys(world: World) -> frozenset[str]:
    """The labels by which something in a World selects proxies."""
    return frozenset(str(key) for key in world.names("selected label"))
