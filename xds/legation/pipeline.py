"""The compiler, each stage once: texts and a proxy in, a Snapshot and Problems out.

`validate`, `render` and the golden tests call this. The server calls the same stages, but remembers between changes
(`app.py`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from legation.ingest import admission, files, secret_folders
from legation.ingest.admission import Admission, File
from legation.model import analysis, certificates, gateway_analysis, inbound, instances, sidecar_analysis
from legation.model.findings import Finding
from legation.model.meta import Key
from legation.model.proxy import Proxy, Scope
from legation.model.recall import Recall
from legation.model.world import Mesh, World
from legation.problems import Problem, Severity, dotted, in_order
from legation.snapshot.snapshot import Snapshot

if TYPE_CHECKING:
    from legation.hooks import Hook


def understood(tree: files.Tree, mesh_config: str | None = None) -> list[File]:
    """The files of a tree, understood; a folder of a Secret is a file with that document. `mesh_config` is the path of
    the one that holds the mesh's configuration.
    """
    place = os.path.realpath(mesh_config) if mesh_config is not None else ""
    found = [
        admission.understand(
            raw.path, raw.text, raw.problem, is_mesh_config=bool(place) and os.path.realpath(raw.path) == place
        )
        for raw in tree.files.values()
    ]
    return [*found, *(secret_folders.understand(folder, tree.unknown(folder.path)) for folder in tree.secrets.values())]


def accept(tree: files.Tree, mesh: Mesh, mesh_config: str | None = None) -> Admission:
    """What a server that starts with nothing else would take into service, after all its patience."""
    admitted = Admission(World(mesh), roots=())
    admitted.step(understood(tree, mesh_config), (), now=-math.inf)
    return admitted


def problems(
    tree: files.Tree, admitted: Admission, recall: Recall, scopes: Iterable[Scope] = (), now: float | None = None
) -> list[Problem]:
    """Everything there is to say about the files, in order. With `now` (seconds since the epoch), also what time does."""
    found = [*tree.problems, *admitted.problems(), *analysed(recall, admitted, scopes)]
    return in_order([*found, *(expiring(recall, admitted, now) if now is not None else ())])


def analysed(recall: Recall, admitted: Admission, scopes: Iterable[Scope] = ()) -> list[Problem]:
    """What the documents in service say about each other, with its place in the files; and what only some proxies are
    concerned with.
    """
    found = recall.ask(analysis.everything).union(tuple)
    return [placed(finding, admitted) for finding in found.union(*(_at_proxy(recall, one) for one in scopes))]


def _at_proxy(recall: Recall, scope: Scope) -> Iterable[Finding]:
    checks = (gateway_analysis.at_proxy, sidecar_analysis.at_proxy, inbound.at_proxy)
    return [finding for check in checks for finding in recall.ask(check, scope)]


SOON = 14 * 86400.0
"""Seconds before a certificate expires in which that is told."""


def expiring(recall: Recall, admitted: Admission, now: float) -> list[Problem]:
    """The certificates that have expired, or are about to."""
    found = []
    for (namespace, name), expiries in recall.ask(certificates.expiries).items():
        for expiry in expiries:
            if expiry.at - now < SOON:
                said = f"the certificate in `{expiry.key}` {_expires(expiry.at, now)}"
                key = Key("Secret", namespace, name)
                finding = Finding(key, ("data", expiry.key), Severity.WARNING, EXPIRES, said, "renew it")
                found.append(placed(finding, admitted))
    return found


EXPIRES = "LEG0803"


def channel_expiring(file: str, at: float, now: float) -> list[Problem]:
    """The server's own certificate, if it has expired or is about to."""
    said = f"the server's certificate {_expires(at, now)}; proxies take no connection with one that has"
    return [Problem(Severity.WARNING, EXPIRES, said, file, hint="renew it")] if at - now < SOON else []


def _expires(at: float, now: float) -> str:
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{'expires' if at > now else 'expired'} on {when}"


def first_expiry(recall: Recall) -> float | None:
    """When the first of all certificates expires, in seconds since the epoch; None if there is none."""
    every = recall.ask(certificates.expiries).values()
    return min((expiry.at for expiries in every for expiry in expiries), default=None)


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
    tree: files.Tree, proxy: Proxy, mesh: Mesh = Mesh(), mesh_config: str | None = None, hook: Hook | None = None
) -> Compiled:
    """The whole way for one proxy."""
    # Envoy's messages take as long to import as all the rest; who only checks files does without.
    from legation import hooks  # noqa: PLC0415
    from legation.render import resources  # noqa: PLC0415

    admitted = accept(tree, mesh, mesh_config)
    recall = Recall(admitted.world)
    scope = replace(instances.scope(admitted.world, proxy), secrets=True)
    rendered, _ = resources.render(recall, scope, resources.Rendered(Snapshot()), revision="")
    found = problems(tree, admitted, recall, [scope])
    if hook is None:
        return Compiled(rendered.snapshot, found, admitted)
    hooked, _ = hooks.apply(hook, scope, rendered.snapshot, {}, hooks.Hooked())
    return Compiled(hooked.snapshot, [*([hooked.problem] if hooked.problem else []), *found], admitted)
