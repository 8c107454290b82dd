"""The small types that several networking kinds share.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator

from legation.model import commands
from legation.model.base import EMPTY, Finding, Model, OneOf, Raw, texts
from legation.model.values import (
    DestinationHost,
    Float,
    Label,
    Labels,
    Map,
    PortNumber,
    Regex,
    Str,
    has_controls,
    is_label,
    shown,
    wrong,
)
from legation.problems import Severity


def _filled_prefix(text: str) -> str:
    if not text:
        raise wrong("an empty prefix", "write how the text begins, or remove the field")
    return text


class StringMatch(Model):
    """How a text must look. With nothing in it: it must be there."""

    rules = (OneOf(("exact", "prefix", "regex")),)
    example = "{exact: some-text}"

    exact: Str | None = None
    """The whole text."""
    prefix: Annotated[Str, AfterValidator(_filled_prefix)] | None = None
    """How it begins."""
    regex: Regex | None = None
    """An RE2 expression that the whole text must match."""


class UriMatch(StringMatch):
    """How a path must look, without its query. With nothing in it: any path."""

    example = "{prefix: /some/path}"

    prefix: Str | None = None
    """How the path begins: `/foo` also matches `/foobar`."""


def _percent(value: float) -> float:
    if value != 0 and not 0.0001 <= value <= 100:
        raise wrong(f"{value:g} is no percentage that can be had", "write 0, or a number from 0.0001 to 100")
    return value


class Percent(Model):
    """A share of requests."""

    example = "{value: 10}"

    value: Annotated[Float, AfterValidator(_percent)] = 0.0
    """0, or from 0.0001 to 100."""


class PortSelector(Model):
    """A port of a service."""

    example = "{number: 9080}"

    number: PortNumber
    """The service's port, 1 to 65535; not the port of a container."""


class Destination(Model):
    """A service, or a subset of it, that traffic goes to."""

    example = "{host: reviews}"

    host: DestinationHost
    """The name of a service: `reviews`, `reviews.prod.svc.cluster.local`, a host of a ServiceEntry."""
    subset: Label | None = None
    """The name of a subset that a DestinationRule of this host defines."""
    port: PortSelector | None = None
    """Which port of the service; may be left out if it has only one."""


# --- headers ------------------------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_LONGEST_VALUE: Final = 16 * 1024
PSEUDO_HEADERS: Final = frozenset({":method", ":scheme", ":authority", ":path", ":status"})


def is_header(name: str) -> bool:
    """Whether a text can be the name of an HTTP header."""
    return _TOKEN.match(name) is not None


def _written_header(name: str) -> str:
    if name.lower() != ":authority":
        return _changed_header(name)
    return name


def _changed_header(name: str) -> str:
    if name.startswith(":"):
        raise wrong(f'"{shown(name)}" cannot be changed', "change the host with `authority` under `rewrite`")
    if not is_header(name):
        raise wrong(f'"{shown(name)}" is no header name', "use letters, digits and '-'")
    return name


def _removed_header(name: str) -> str:
    if name.lower() == "host":
        raise wrong("the host of a request or response cannot be removed", "rewrite it with `rewrite.authority`")
    return _changed_header(name)


def _header_value(value: str) -> str:
    if has_controls(value):
        raise wrong("a header's value has no line breaks or control characters", "remove them")
    if len(value.encode(errors="replace")) > _LONGEST_VALUE:
        raise wrong("a header's value of more than 16 KiB", "Envoy refuses it; shorten it")
    if "%" in value and (found := commands.fault(value)):
        raise wrong(f'"{shown(value)}": {found[0]}', found[1])
    return value


HeaderValue = Annotated[Str, AfterValidator(_header_value)]
RequestHeaders = Map[Annotated[Str, AfterValidator(_written_header)], HeaderValue]
ResponseHeaders = Map[Annotated[Str, AfterValidator(_removed_header)], HeaderValue]
HeaderNames = tuple[Annotated[Str, AfterValidator(_removed_header)], ...]


class RequestHeaderOperations(Model):
    """What happens to the headers of a request. Values may hold Envoy's commands (`%DOWNSTREAM_REMOTE_ADDRESS%`)."""

    set: RequestHeaders = EMPTY
    """Headers that get this value, whatever they had."""
    add: RequestHeaders = EMPTY
    """Headers that get this value in addition."""
    remove: HeaderNames = ()
    """Headers that go."""


class ResponseHeaderOperations(Model):
    """What happens to the headers of a response."""

    set: ResponseHeaders = EMPTY
    """Headers that get this value, whatever they had."""
    add: ResponseHeaders = EMPTY
    """Headers that get this value in addition."""
    remove: HeaderNames = ()
    """Headers that go."""


class Headers(Model):
    """What happens to headers on the way."""

    example = "{request: {set: {x-name: value}}}"

    request: RequestHeaderOperations | None = None
    """Before the request is sent on."""
    response: ResponseHeaderOperations | None = None
    """Before the response is sent back."""


# --- who sees it --------------------------------------------------------------------------------------------------

ExportTo = tuple[Str, ...]
"""The namespaces that see an object: `*` all, `.` its own, or names; `~` none."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """The rule of `exportTo`: `*` and `~` stand alone, nothing is there twice, the rest are namespaces.

    Only services may be exported to nobody (`~`).
    """

    nobody: bool = False

    def __call__(self, raw: Raw) -> Iterator[Finding]:
        written = texts(raw, "exportTo")
        seen: set[str] = set()
        for index, name in written:
            where = ("exportTo", index)
            if name in seen:
                yield Finding(where, f'"{shown(name)}" is here twice', "remove one")
            elif name == "~" and not self.nobody:
                yield Finding(where, '"~" hides an object from everyone, which has no use here', "write . or *")
            elif name in ("*", "~") and len(written) > 1:
                yield Finding(where, f'"{name}" stands alone', "remove the others, or this one")
            elif name not in ("*", ".", "~") and not is_label(name):
                said = f'"{shown(name)}" is no namespace'
                yield Finding(where, said, "write a namespace, . for its own, or * for all")
            seen.add(name)


@dataclass(frozen=True, slots=True)
class Selects:
    """The rule of a selector: one without labels is probably not meant."""

    field: str

    def __call__(self, raw: Raw) -> Iterator[Finding]:
        if raw.get(self.field) in (None, {}):
            said = "a selector without labels selects every workload of the namespace"
            yield Finding((), said, "name labels, or remove the selector", True, Severity.WARNING)


class WorkloadSelector(Model):
    """Which workloads, by their labels; without labels, all of the namespace."""

    rules = (Selects("labels"),)
    example = "{labels: {app: reviews}}"

    labels: Labels = EMPTY
    """Labels that a workload must have."""


class MatchLabels(Model):
    """Which workloads, by their labels; without labels, all of the namespace."""

    rules = (Selects("matchLabels"),)
    example = "{matchLabels: {app: reviews}}"

    match_labels: Labels = EMPTY
    """Labels that a workload must have."""
