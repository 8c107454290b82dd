"""`--hooks module:function`: a function of the user's own edits what proxies get, as typed dataclasses of envoy-data-plane.

Only what it asks for is converted, and only what it changed replaces anything, so it costs what it uses. If it raises, or
leaves something that is no resource, what its scope had last stays in service, and the problem names its file and line.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from google.protobuf import any_pb2

from legation import names
from legation.model.proxy import Scope
from legation.problems import Problem, Severity
from legation.snapshot.snapshot import Change, Ref, Resource, Snapshot, evolve, resource

if TYPE_CHECKING:
    from envoy_data_plane.envoy.config.cluster.v3 import Cluster
    from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
    from envoy_data_plane.envoy.config.listener.v3 import Listener
    from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration
    from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import Secret

FAILED: Final = "LEG0701"
_OURS: Final = os.path.dirname(__file__) + os.sep

M = TypeVar("M")

_CLASSES: Final = {
    names.LISTENER: ("envoy.config.listener.v3", "Listener", "name"),
    names.ROUTE: ("envoy.config.route.v3", "RouteConfiguration", "name"),
    names.CLUSTER: ("envoy.config.cluster.v3", "Cluster", "name"),
    names.ENDPOINT: ("envoy.config.endpoint.v3", "ClusterLoadAssignment", "cluster_name"),
    names.SECRET: ("envoy.extensions.transport_sockets.tls.v3", "Secret", "name"),
}


@cache
def _class(type_url: str) -> Any:
    """The dataclass of a type. Loaded when it is first needed: it takes half a second."""
    module, name, _ = _CLASSES[type_url]
    return getattr(importlib.import_module(f"envoy_data_plane.{module}"), name)


class Table(MutableMapping[str, M]):
    """The resources of one type by name. What is read is a dataclass that may be edited in place."""

    def __init__(self, type_url: str, snapshot: Snapshot) -> None:
        self._type_url = type_url
        self._before = snapshot.of(type_url)
        self._read: dict[str, tuple[M, bytes]] = {}
        self._put: dict[str, M] = {}
        self._removed: set[str] = set()

    def __getitem__(self, name: str) -> M:
        if name in self._put:
            return self._put[name]
        if name in self._removed:
            raise KeyError(name)
        if name not in self._read:
            packed = any_pb2.Any.FromString(self._before[name].body)
            message = _class(self._type_url).parse(packed.value)
            self._read[name] = message, bytes(message)
        return self._read[name][0]

    def __setitem__(self, name: str, message: M) -> None:
        self._removed.discard(name)
        self._put[name] = message

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._put.pop(name, None)
        self._removed.add(name)

    def __contains__(self, name: object) -> bool:
        return name in self._put or (name in self._before and name not in self._removed)

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self._before if name in self)
        yield from (name for name in self._put if name not in self._before)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def changes(self) -> Iterator[tuple[str, Resource | None]]:
        """What is different now. Raises TypeError or ValueError for what is no resource of the type."""
        for name in self._removed:
            if name in self._before and name not in self._put:
                yield name, None
        edited = {
            name: message
            for name, (message, before) in self._read.items()
            if name not in self._removed and name not in self._put and bytes(cast("Any", message)) != before
        }
        for name, message in {**edited, **self._put}.items():
            yield name, self._encoded(name, message)

    def _encoded(self, name: str, message: Any) -> Resource:
        _, called, field_of_name = _CLASSES[self._type_url]
        if not isinstance(message, _class(self._type_url)):
            raise TypeError(f"{name!r} is a {type(message).__name__}, and must be a {called}")
        own = getattr(message, field_of_name)
        if own != name:
            raise ValueError(f"the {called} under {name!r} is called {own!r}")
        packed = any_pb2.Any(type_url=self._type_url, value=bytes(message))
        before = self._before.get(name)
        body = packed.SerializeToString(deterministic=True)
        return resource(self._type_url, name, body, *((before.refs, before.origins) if before is not None else ()))


class Resources:
    """Everything that proxies of a scope get, by type and name."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.listeners: Table[Listener] = Table(names.LISTENER, snapshot)
        self.routes: Table[RouteConfiguration] = Table(names.ROUTE, snapshot)
        self.clusters: Table[Cluster] = Table(names.CLUSTER, snapshot)
        self.endpoints: Table[ClusterLoadAssignment] = Table(names.ENDPOINT, snapshot)
        self.secrets: Table[Secret] = Table(names.SECRET, snapshot)

    def changes(self) -> Iterator[tuple[str, str, Resource | None]]:
        """What is different now, by type URL and name; None for what is gone."""
        tables: dict[str, Table[Any]] = {
            names.LISTENER: self.listeners, names.ROUTE: self.routes, names.CLUSTER: self.clusters,
            names.ENDPOINT: self.endpoints, names.SECRET: self.secrets,
        }  # fmt: skip
        for type_url, table in tables.items():
            for name, made in table.changes():
                yield type_url, name, made


Hook = Callable[[Scope, Resources], None]
"""Edits what proxies of a scope get. It is called for every scope after every change, and starts from what was rendered."""


class NoHook(Exception):
    """What `--hooks` names is no function that can be called."""


def load(written: str) -> Hook:
    """The function of `module:function`; modules are also looked for in the working directory. Raises NoHook."""
    module, colon, function = written.partition(":")
    if not colon or not module or not function:
        raise NoHook(f"{written!r} is not MODULE:FUNCTION")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise NoHook(f"{written}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise NoHook(f"{written} is no function")
    return cast("Hook", found)


@dataclass(frozen=True, slots=True)
class Hooked:
    """What a scope is served after its hook, and which resources the hook made, changed or took away."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    edited: frozenset[Ref] = frozenset()
    problem: Problem | None = None


def apply(hook: Hook, scope: Scope, rendered: Snapshot, change: Change, before: Hooked) -> tuple[Hooked, Change]:
    """The outcome of a hook on what was rendered, of which `change` is new; and what is new for proxies.

    A hook that fails leaves what was there before. If nothing was, the resources go out as they were rendered.
    """
    resources = Resources(rendered)
    try:
        hook(scope, resources)
        changes = list(resources.changes())
    except Exception as error:
        problem = _problem(error, hook)
        if before.snapshot.resources:
            return Hooked(before.snapshot, before.edited, problem), {}
        return Hooked(rendered, frozenset(), problem), _differing(rendered, before.snapshot, change, frozenset())
    put = [made for _, _, made in changes if made is not None]
    removed = [(type_url, name) for type_url, name, made in changes if made is None]
    snapshot, _ = evolve(rendered, put, removed)
    edited = frozenset((type_url, name) for type_url, name, _ in changes)
    suspects = edited | before.edited
    if before.problem is not None:  # what was rendered meanwhile never went out
        suspects |= {
            (url, name) for of in (rendered, before.snapshot) for url, table in of.resources.items() for name in table
        }
    return Hooked(snapshot, edited), _differing(snapshot, before.snapshot, change, suspects)


def _differing(now: Snapshot, before: Snapshot, change: Change, suspects: frozenset[Ref]) -> Change:
    """Of what may be different, what is."""
    found: dict[str, set[str]] = {}
    for type_url, name in {*suspects, *((type_url, name) for type_url, them in change.items() for name in them)}:
        mine, theirs = now.of(type_url).get(name), before.of(type_url).get(name)
        if (mine.version if mine else None) != (theirs.version if theirs else None):
            found.setdefault(type_url, set()).add(name)
    return {type_url: frozenset(them) for type_url, them in found.items()}


def _problem(error: Exception, hook: Hook) -> Problem:
    """What went wrong, and the last line of the user's own code on the way there; the function, if there is none."""
    code = getattr(hook, "__code__", None)
    place = (code.co_filename, code.co_firstlineno) if code is not None else ("", 0)
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith(_OURS) and "site-packages" not in frame.filename:
            place = frame.filename, frame.lineno or 0
    said = f"the hook failed: {type(error).__name__}: {error}"
    hint = "what proxies had before stays in service"
    file, line = place
    return Problem(Severity.ERROR, FAILED, said, file, line, 1 if line else 0, hint=hint)
