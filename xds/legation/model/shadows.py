"""Rules and matches that no request ever gets to, since one before them takes all that they ask for.

The codes are those of `istioctl analyze`. Only what can be told without a doubt is told: a match is covered by an earlier
one that asks for the same besides the path, or for nothing besides it, and whose path begins alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from legation.model.conditions import HTTPMatchRequest
from legation.model.virtual_service import HTTPRoute, VirtualService
from legation.problems import Path

UNREACHABLE: Final = "IST0130"
INEFFECTIVE: Final = "IST0131"


class Shadow(NamedTuple):
    """A rule or a match that is never reached: where, by which code, and what to say."""

    path: Path
    code: str
    message: str
    hint: str


def shadows(item: VirtualService) -> Iterator[Shadow]:
    """Everything in a VirtualService that is never reached. Costs what reading it once costs."""
    taken = _Taken()
    for number, rule in enumerate(item.http):
        by = [taken.by(match) for match in rule.match] or [taken.by(None)]
        if None not in by:
            yield _unreachable(number, {first for first in by if first is not None})
            continue
        for place, first in enumerate(by):
            if first is not None:
                path = ("spec", "http", number, "match", place)
                said = f"this match is never reached: {first} takes what it asks for"
                yield Shadow(path, INEFFECTIVE, said, f"remove it, or put it before {first}")
        if rule.delegate is None:  # what a delegate's rules let pass goes on to the next
            taken.add(number, rule)


def _unreachable(number: int, by: set[_Place]) -> Shadow:
    path = ("spec", "http", number)
    if len(by) == 1 and (only := next(iter(by))).everything:
        said = f"this rule is never reached: {only} takes every request"
        return Shadow(path, UNREACHABLE, said, f"put http[{only.rule}] last, or say in a `match` what it is for")
    listed = ", ".join(str(place) for place in sorted(by))
    said = f"this rule is never reached: {listed} {'takes' if len(by) == 1 else 'take'} what it asks for"
    return Shadow(path, UNREACHABLE, said, "remove it, or put it first")


class _Place(NamedTuple):
    """A match that takes requests; `everything`: all of them."""

    rule: int
    match: int
    everything: bool

    def __str__(self) -> str:
        return f"http[{self.rule}]" if self.match < 0 or self.everything else f"http[{self.rule}].match[{self.match}]"


class _Taken:
    """What the rules so far take: by all that they ask for besides the path, the paths, whole or as beginnings."""

    def __init__(self) -> None:
        self._rests: dict[Any, int] = {_NOTHING_ELSE: 0}
        self._places: dict[tuple[int, _Path], _Place] = {}
        self._lengths: set[int] = set()

    def add(self, number: int, rule: HTTPRoute) -> None:
        for place, match in enumerate(rule.match) if rule.match else ((-1, None),):
            rest, path = self._number(match), _path(match)
            self._lengths.add(len(path.text))
            self._places.setdefault((rest, path), _Place(number, place, path == _ANY_PATH and rest == 0))

    def by(self, match: HTTPMatchRequest | None) -> _Place | None:
        """The match that takes everything which this one asks for."""
        same = {self._number(match), 0}
        found = (self._places.get((rest, path)) for path in _wider(_path(match), self._lengths) for rest in same)
        return min((place for place in found if place is not None), default=None)

    def _number(self, match: HTTPMatchRequest | None) -> int:
        """What a match asks for besides the path, as a number that is soon compared."""
        return self._rests.setdefault(_rest(match), len(self._rests))


class _Path(NamedTuple):
    """How a path is matched, by what, and whether case counts; the text is in small letters if it does not."""

    kind: str
    text: str
    cased: bool = True


_ANY_PATH: Final = _Path("prefix", "")


def _path(match: HTTPMatchRequest | None) -> _Path:
    uri = match.uri if match is not None else None
    if match is None or uri is None or uri.regex == ".*":
        return _ANY_PATH
    if uri.regex is not None:
        return _Path("regex", uri.regex)
    kind, text = ("exact", uri.exact) if uri.exact is not None else ("prefix", uri.prefix or "/")
    if (kind, text) == ("prefix", "/"):
        return _ANY_PATH  # every path begins with it
    return _Path(kind, text.lower(), False) if match.ignore_uri_case else _Path(kind, text)


def _wider(path: _Path, lengths: Collection[int]) -> Iterator[_Path]:
    """The paths that hold wherever this one does, as far as their text has one of these lengths."""
    yield path
    yield _ANY_PATH
    if path.kind == "regex":
        return
    texts = [(path.text.lower(), False), *([(path.text, True)] if path.cased else [])]
    for text, cased in texts:
        yield _Path(path.kind, text, cased)
        yield from (_Path("prefix", text[:length], cased) for length in lengths if length <= len(text))


def _rest(match: HTTPMatchRequest | None) -> Any:
    """Everything that a match asks for besides the path."""
    if match is None:
        return _NOTHING_ELSE
    return (
        match.scheme, match.method, match.authority, match.headers, match.without_headers, match.query_params,
        match.port, match.source_labels, match.source_namespace, match.gateways,
    )  # fmt: skip


_NOTHING_ELSE: Final = _rest(HTTPMatchRequest())
