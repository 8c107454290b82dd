"""Walks a document beside its model: what has no effect yet, what is deprecated, what the rules of its parts say.

It reads what was written, not what pydantic made of it, so it finds all of this in documents with other faults too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from legation.model.base import NOT_SUPPORTED, Deprecated, Finding, Idle, Lenient, Model, NotYet, Partly, Rule
from legation.problems import Path, Severity

DEPRECATED: Final = "IST0002"

M = TypeVar("M")


class Shape(Enum):
    """How a field holds messages."""

    ONE = "one"
    LIST = "list"
    MAP = "map"


class Part(NamedTuple):
    """What there is to know of a field: its name in Python, the messages in it, its marks."""

    name: str
    child: Plan | None
    shape: Shape
    not_yet: NotYet | None
    partly: Partly | None
    idle: Idle | None
    deprecated: Deprecated | None

    @property
    def plain(self) -> bool:
        """Whether it holds no messages and has no marks that anybody is told of."""
        return self.child is None and self.not_yet is None and self.deprecated is None


@dataclass(frozen=True, slots=True)
class Plan:
    """A model, as a walk sees it: parts by their names in files, and rules.

    `watched` are the parts that are worth a look; `strict` says that fields without a value are told.
    """

    model: type[Model]
    parts: Mapping[str, Part]
    rules: tuple[Rule, ...]
    watched: Mapping[str, Part]
    strict: bool


@cache
def plan(model: type[Model]) -> Plan:
    """The plan of a model."""
    parts = {info.alias or name: _part(name, info) for name, info in model.model_fields.items()}
    watched = {alias: part for alias, part in parts.items() if not part.plain}
    return Plan(model, parts, model.rules, watched, not issubclass(model, Lenient))


def _part(name: str, info: FieldInfo) -> Part:
    child, shape = _messages(info.annotation)
    return Part(
        name, plan(child) if child is not None else None, shape,
        _mark(NotYet, info), _mark(Partly, info), _mark(Idle, info), _mark(Deprecated, info),
    )  # fmt: skip


def _mark(kind: type[M], info: FieldInfo) -> M | None:
    return next((mark for mark in info.metadata if isinstance(mark, kind)), None)


def _messages(annotation: Any) -> tuple[type[Model] | None, Shape]:
    """The model in an annotation, and how it is held."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _messages(arguments[0])
    if origin in (Union, UnionType):
        found = [_messages(argument) for argument in arguments]
        return next((each for each in found if each[0] is not None), (None, Shape.ONE))
    if origin is tuple:
        return _messages(arguments[0])[0], Shape.LIST
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _messages(arguments[1])[0], Shape.MAP
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation, Shape.ONE
    return None, Shape.ONE


@dataclass(slots=True)
class Walk:
    """What was found, and where nothing stands (`null`) in a field's place."""

    findings: list[Finding] = field(default_factory=list)
    nulls: list[Path] = field(default_factory=list)


def walk(model: type[Model], raw: Any, path: Path) -> Walk:
    """Walks what is written in a model's place; `path` is where that is, and every finding's path begins with it."""
    seen = Walk()
    _walk(plan(model), raw, path, seen, told=False)
    return seen


def _walk(here: Plan, raw: Any, path: Path, seen: Walk, told: bool) -> None:
    """`told`: something around this has no effect yet, and it is enough to say that once."""
    if type(raw) is not dict:
        return
    if here.strict and None in raw.values():
        seen.nulls.extend((*path, key) for key in raw if raw[key] is None and key in here.parts)
    for rule in here.rules:
        for finding in rule(raw):
            if not (told and finding.code == NOT_SUPPORTED):
                seen.findings.append(finding._replace(path=path + finding.path))
    if not here.watched:
        return
    for key, value in raw.items():
        part = here.watched.get(key)
        if part is None or value is None:
            continue
        below = told
        if part.not_yet is not None or part.deprecated is not None:
            below = _marked(part, key, value, path, seen, told)
        if part.child is None:
            continue
        if part.shape is Shape.ONE:
            _walk(part.child, value, (*path, key), seen, below)
        elif part.shape is Shape.LIST and type(value) is list:
            for index, item in enumerate(value):
                _walk(part.child, item, (*path, key, index), seen, below)
        elif part.shape is Shape.MAP and type(value) is dict:
            for name, item in value.items():
                _walk(part.child, item, (*path, key, name), seen, below)


def _marked(part: Part, key: str, value: Any, path: Path, seen: Walk, told: bool) -> bool:
    """Notes a field's marks; whether what is in it has no effect."""
    where, mark = (*path, key), part.not_yet
    off = (
        mark is not None
        and value not in ([], "", {})
        and not _among(value, mark.harmless)
        and (not mark.values or _among(value, mark.values))
    )
    if off and mark is not None and not told:
        what = f"`{key}: {value}`" if mark.values else f"`{key}`"
        means = f": {mark.means}" if mark.means else ": it has no effect"
        hint = "do not count on it, or remove it"
        said = f"{what} is not supported yet{means}"
        seen.findings.append(Finding(where, said, hint, not mark.values, Severity.WARNING, NOT_SUPPORTED))
    old = part.deprecated
    if old is not None and (not old.values or _among(value, old.values)):
        what = f"`{value}`" if old.values else f"`{key}`"
        said = f"{what} is deprecated"
        seen.findings.append(Finding(where, said, f"use `{old.instead}`", not old.values, Severity.WARNING, DEPRECATED))
    return told or off


def _among(value: Any, values: frozenset[str]) -> bool:
    return isinstance(value, str) and value in values


def without_nulls(model: type[Model], raw: Any) -> Any:
    """What is written, less the fields in whose place nothing stands: to Kubernetes they are not written."""
    return _full(plan(model), raw)


def _full(here: Plan, raw: Any) -> Any:
    if type(raw) is not dict:
        return raw
    return {
        key: _values(here.parts.get(key), value)
        for key, value in raw.items()
        if value is not None or key not in here.parts
    }


def _values(part: Part | None, value: Any) -> Any:
    if part is None or part.child is None:
        return value
    if part.shape is Shape.ONE:
        return _full(part.child, value)
    if part.shape is Shape.LIST and type(value) is list:
        return [_full(part.child, item) for item in value]
    if part.shape is Shape.MAP and type(value) is dict:
        return {name: _full(part.child, item) for name, item in value.items()}
    return value


def model_at(model: type[Model], path: Path) -> type[Model] | None:
    """The model of what stands at a path below a model; None where no message stands."""
    here: type[Model] | None = model
    steps = iter(path)
    for step in steps:
        if here is None or not isinstance(step, str):
            return None
        part = plan(here).parts.get(step)
        if part is None or part.child is None:
            return None
        here = part.child.model
        if part.shape is not Shape.ONE and next(steps, None) is None:
            return None
    return here


def descend(model: type[Model]) -> Iterator[type[Model]]:
    """A model and all that it is made of, each once."""
    seen: dict[type[Model], None] = {}
    waiting = [model]
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen[here] = None
            waiting.extend(part.child.model for part in plan(here).parts.values() if part.child is not None)
    yield from seen
