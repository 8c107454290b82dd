"""What the models of all kinds stand on: strict, frozen pydantic classes in Istio's words, with marks and rules.

A field says its type; a **mark** in its annotation says that it has no effect yet (`NotYet`), in some places or values
only (`Partly`), never any (`Idle`), or should go (`Deprecated`). docs/support.md is made of them.
A **rule** of a class says what must hold between its fields. Rules read the raw mapping as it was written, never the
validated model, so that a wrong value in one field hides no finding about the others. Models know nothing of files:
`ingest/decode.py` walks marks and rules, and turns what they find into Problems with lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, NoReturn, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from legation.problems import Path, Severity

NOT_SUPPORTED = "LEG0301"
"""The code of a finding that says: known, and without effect yet."""

FOR_SOME = "LEG0303"
"""The code of a finding that says: in force in some places only."""

Raw = Mapping[str, Any]
"""An object as it was written: keys are strings, values may be anything."""


def camel(name: str) -> str:
    """Protobuf's JSON name of a field: `consecutive_5xx_errors` is `consecutive5xxErrors`, `from_` is `from`."""
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


class Model(BaseModel):
    """A message of some kind. Equal, and hashable, by meaning.

    In Python the fields go by their snake_case names; in files only the camelCase ones are known.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=camel,
        validate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,
        protected_namespaces=(),
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """What must hold between the fields."""
    example: ClassVar[str] = ""
    """How it is written, for someone who wrote a plain word or number in its place."""


class Lenient(Model):
    """A message of which we read a part. The rest belongs to Kubernetes and is passed over."""

    model_config = ConfigDict(extra="ignore")


class Opaque(Lenient):
    """A message that we only name."""


# --- marks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NotYet:
    """The field is known and has no effect yet; with `values`, only these of its values.

    `means` finishes the sentence "… is not supported yet: …" where people should know what happens instead. `harmless`
    are values that ask for nothing but what happens anyway.
    """

    means: str = ""
    values: frozenset[str] = frozenset()
    harmless: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Partly:
    """The field has an effect, but not for what `but` names; a rule or an analysis tells whoever counts on that."""

    but: str


@dataclass(frozen=True, slots=True)
class Idle:
    """The field has no effect on proxies, in Istio neither: it is somebody else's business, and nobody is told."""

    why: str


@dataclass(frozen=True, slots=True)
class Deprecated:
    """The field has an effect but is on its way out; with `values`, only these of its values."""

    instead: str
    values: frozenset[str] = frozenset()


# --- rules --------------------------------------------------------------------------------------------------------


class Finding(NamedTuple):
    """What a rule found. `path` is relative to the object that the rule is of; `at_key` points at the key, not at the
    value; `code` is only for findings that are no matter of validation.
    """

    path: Path
    message: str
    hint: str
    at_key: bool = False
    severity: Severity = Severity.ERROR
    code: str = ""


class Rule(Protocol):
    """Reads an object as it was written and says what is wrong with it. Never raises, whatever is written."""

    def __call__(self, raw: Raw, /) -> Iterator[Finding]: ...


def given(raw: Raw, key: str) -> bool:
    """Whether a field is written with something in it. An empty list is none; an empty mapping is something."""
    value = raw.get(key)
    return value is not None and value != []


def quoted(names: Sequence[str], last: str) -> str:
    """`` `a`, `b` or `c` ``."""
    marked = [f"`{name}`" for name in names]
    return marked[0] if len(marked) == 1 else f"{', '.join(marked[:-1])} {last} {marked[-1]}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """At most one of these fields is written; with `required`, exactly one."""

    fields: tuple[str, ...]
    required: bool = False

    def __call__(self, raw: Raw) -> Iterator[Finding]:
        written = [key for key in raw if key in self.fields and given(raw, key)]
        for key in written[1:]:
            yield Finding(
                (key,),
                f"`{key}` and `{written[0]}` exclude each other",
                f"keep {quoted(self.fields, 'or')}",
                at_key=True,
            )
        if self.required and not written:
            said = f"one of {quoted(self.fields, 'and')} must be given"
            yield Finding((), said, f"add {quoted(self.fields, 'or')}", at_key=True)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these fields is written, and not as an empty text or 0; or one of `unless` is."""

    fields: tuple[str, ...]
    unless: tuple[str, ...] = ()

    def __call__(self, raw: Raw) -> Iterator[Finding]:
        if not any(given(raw, key) and raw[key] not in ("", 0) for key in (*self.fields, *self.unless)):
            said = f"one of {quoted(self.fields, 'and')} must be given"
            yield Finding((), said, f"add {quoted(self.fields, 'or')}", at_key=True)


@dataclass(frozen=True, slots=True)
class Excludes:
    """Where `field` is written, none of the others is."""

    field: str
    others: tuple[str, ...]

    def __call__(self, raw: Raw) -> Iterator[Finding]:
        if given(raw, self.field):
            for other in self.others:
                if given(raw, other):
                    said = f"`{other}` and `{self.field}` exclude each other"
                    yield Finding((other,), said, f"remove one of the two; `{self.field}` leaves no place for it", True)


@dataclass(frozen=True, slots=True)
class Unique:
    """No two items of a list have the same text or number in a field."""

    list: str
    by: str

    def __call__(self, raw: Raw) -> Iterator[Finding]:
        seen: dict[str | int, int] = {}
        for index, item in items(raw, self.list):
            value = item.get(self.by)
            if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
                continue
            if value in seen:
                said = f"`{self.by}` {value} is here twice, first in {self.list}[{seen[value]}]"
                yield Finding((self.list, index, self.by), said, f"give each its own `{self.by}`")
            else:
                seen[value] = index


def items(raw: Raw, key: str) -> list[tuple[int, Raw]]:
    """The mappings in a list, with their places; what is none is no concern of a rule."""
    value = raw.get(key)
    return [(n, item) for n, item in enumerate(value) if isinstance(item, dict)] if isinstance(value, list) else []


def texts(raw: Raw, key: str) -> list[tuple[int, str]]:
    """The texts in a list, with their places."""
    value = raw.get(key)
    return [(n, item) for n, item in enumerate(value) if isinstance(item, str)] if isinstance(value, list) else []


def inner(raw: Raw, *keys: str) -> Raw:
    """The mapping below some keys; an empty one where there is none."""
    for key in keys:
        value = raw.get(key)
        if not isinstance(value, dict):
            return {}
        raw = value
    return raw


def number(raw: Raw, key: str) -> int | None:
    """A whole number, or None where there is none."""
    value = raw.get(key)
    return value if type(value) is int else None


# --- maps ---------------------------------------------------------------------------------------------------------

K = TypeVar("K")
V = TypeVar("V")


class FrozenMap(dict[K, V]):
    """A mapping that never changes, so that models with maps can be hashed and be keys of a cache."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMap, (dict(self),)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a model's mapping does not change")

    __setitem__ = __delitem__ = update = pop = popitem = clear = setdefault = __ior__ = _refuse


EMPTY: FrozenMap[Any, Any] = FrozenMap()
"""The mapping with nothing in it: the default of every field that holds one."""
