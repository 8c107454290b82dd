"""From a file's text to documents: plain values, with the line and column of every node at hand when someone asks.

The text is split at `---` before it is parsed, so a syntax error costs one document. Values are built from the parser's
event stream with a stack of our own: depth, node count and alias expansion are bounded before anything recursive sees
them (the C loader's compose dies with a segmentation fault at some 30,000 nested brackets). Scalars resolve as in
Kubernetes' reader: no dates, no sexagesimal numbers, no `0644` octals, no `on`/`yes`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from typing import Any, Final

import yaml

from legation.problems import Path, Problem, Severity

MAX_DEPTH: Final = 100
MAX_NODES: Final = 250_000
"""Nodes of one document, every alias counted with all that it stands for."""

SYNTAX = "LEG0101"
NOT_A_DOCUMENT = "LEG0102"


class At(Enum):
    """Which end of an entry a finding is about: its key or its value."""

    KEY = "key"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Document:
    """One document, not yet understood: where it stands and its plain value.

    `file` is the path as the user gave it, `line` the document's first line in it (from 1), `text` the document's own
    text. `inside` is where the value stands within the text: `()`, or `("items", 3)` for an item of a List. `sound` is
    False where the text can be read but must not be trusted: a key is in it twice. The other way round, a text may be a
    part of the value only, the one at `around`; and every line of it may begin behind a `margin`.
    """

    file: str
    line: int
    text: str = field(repr=False)
    value: Mapping[str, Any] = field(repr=False)
    inside: Path = ()
    sound: bool = True
    around: Path = ()
    margin: int = 0

    def written(self, path: Path) -> Path:
        """The path of an entry as the text has it."""
        size = len(self.around)
        return path[size:] if path[:size] == self.around else ()

    def position(self, path: Path, at: At = At.VALUE) -> tuple[int, int]:
        """Line and column (from 1) of an entry in the file; of the nearest parent, by its key, if it is not there."""
        marks = _marks(self.text)
        whole = self.inside + self.written(path)
        while whole and whole not in marks:
            whole, at = whole[:-1], At.KEY
        key, value = marks.get(whole, ((0, 0), (0, 0)))
        line, column = key if at is At.KEY else value
        return self.line_of_text + line, column + 1 + self.margin

    @property
    def line_of_text(self) -> int:
        """The first line of the text that the value stands in."""
        return self.line if not self.inside else self.line - _marks(self.text)[self.inside][1][0]

    @property
    def source(self) -> str:
        """A text that reads as this document alone."""
        return self.text if not self.inside and not self.around else json.dumps(self.value, indent=1)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file's text holds.

    `complete` says that every part of it could be read; `blank` that there is nothing at all, not even a comment: the
    mark of a failed save.
    """

    file: str
    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]
    complete: bool
    blank: bool


def read(file: str, text: str) -> Reading:
    """Splits and parses a file's text. Never raises: what cannot be read is a Problem, the rest is there."""
    documents: list[Document] = []
    problems: list[Problem] = []
    for line, part in split(text):
        twice: list[_Unreadable] = []
        try:
            value = _build(part, twice)
        except _Unreadable as error:
            problems.append(error.problem(file, line))
            continue
        problems += [error.problem(file, line) for error in twice]
        if value is None:
            continue
        if not isinstance(value, dict):
            said = f"a document must be a mapping of fields, this is {_called(value)}"
            problems.append(Problem(Severity.ERROR, NOT_A_DOCUMENT, said, file, *_first(part, line), hint=_OBJECT))
            continue
        document = Document(file, line, part, value, sound=not twice)
        documents.extend(_unpacked(document, problems))
    return Reading(file, tuple(documents), tuple(problems), not problems, not text.strip("\ufeff \t\r\n"))


def restore(file: str, line: int, source: str) -> Document | None:
    """The one document of a `Document.source`, put back to where it once stood; None if it cannot be read."""
    found = read(file, source).documents
    return replace(found[0], line=line) if len(found) == 1 else None


_BOUNDARY = re.compile(r"^(---|\.\.\.)(?=[ \t\r]|$)[^\n]*\n?", re.MULTILINE)


_BARE = re.compile(r"---[ \t\r]*\n")


def split(text: str) -> Iterator[tuple[int, str]]:
    """The parts between `---` (and `...`) lines, each with its first line's number; parts of nothing but comments,
    blank lines and directives are left out. In YAML these markers end a document wherever they stand in column one.
    """
    text = text.removeprefix("\ufeff")
    starts = [0]
    starts += (found.start() if found[1] == "---" else found.end() for found in _BOUNDARY.finditer(text))
    line, counted = 1, 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = re.sub(r"^\.\.\.([ \t\r][^\n]*)?(\n|$)", "", text[start:end], flags=re.MULTILINE)
        line += text.count("\n", counted, start)
        counted = start
        if bare := _BARE.match(part):
            line, counted, part = line + 1, start + bare.end(), part[bare.end() :]  # the marker is no one's text
        if any(rest and rest[0] not in "#%" for rest in (row.removeprefix("---").strip() for row in part.split("\n"))):
            yield line, part


def _unpacked(document: Document, problems: list[Problem]) -> Iterator[Document]:
    """A `kind: List` as its items, anything else as it is."""
    kind, items = document.value.get("kind"), document.value.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list)):
        yield document
        return
    for index, item in enumerate(items):
        inside: Path = ("items", index)
        line, column = document.position(inside)
        if isinstance(item, dict):
            yield Document(document.file, line, document.text, item, inside, document.sound)
        else:
            said = f"an item of a {kind} must be a mapping of fields, this is {_called(item)}"
            problems.append(Problem(Severity.ERROR, NOT_A_DOCUMENT, said, document.file, line, column, hint=_OBJECT))


_OBJECT = "begin with apiVersion, kind and metadata"


# --- YAML ---------------------------------------------------------------------------------------------------------


class _Unreadable(Exception):
    """Why a text could not be read, and where (from 0, within the text)."""

    def __init__(self, message: str, line: int, column: int, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.line, self.column, self.hint = message, line, column, hint

    def problem(self, file: str, line: int) -> Problem:
        """As a Problem of a file, for a text that begins in `line`."""
        return Problem(Severity.ERROR, SYNTAX, self.message, file, line + self.line, self.column + 1, hint=self.hint)


_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+|0o[0-7]+)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAGS: Final = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_STRING_TAG = "tag:yaml.org,2002:str"


def _plain(text: str) -> Any:
    """A scalar without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "-+.0123456789" and len(text) < 64:
        if _NUMBER.match(text):
            return int(text, 0)
        if _FLOAT.match(text):
            return float(text)
    return text


Marks = dict[Path, tuple[tuple[int, int], tuple[int, int]]]


def _build(text: str, twice: list[_Unreadable], marks: Marks | None = None) -> Any:
    """The plain value of a text; duplicate keys are collected in `twice`, the last of them is in the value.

    With `marks`, also where every entry stands: path → (key, value), from 0. Raises _Unreadable for what the parser
    refuses, unknown tags, and what exceeds the bounds.
    """
    stack: list[_Open] = []
    anchors: dict[str, tuple[Any, int]] = {}
    result: Any = None
    nodes = 0
    try:
        event: Any
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            kind = type(event)
            if kind is yaml.ScalarEvent:
                value, size = _scalar(event), 1
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                if len(stack) >= MAX_DEPTH:
                    raise _at(
                        event, f"nested more than {MAX_DEPTH} levels deep", "flatten it; no Istio object needs it"
                    )
                if event.tag is not None and event.tag not in _TAGS:
                    raise _at(event, f"the tag {event.tag} is not known", "remove the tag")
                made: Any = {} if kind is yaml.MappingStartEvent else []
                stack.append(_Open(made, event, nodes))
                nodes += 1
                if marks is not None and len(stack) > 1:
                    stack[-2].mark(marks, stack, event)
                elif marks is not None:
                    marks[()] = (_place(event), _place(event))
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                done = stack.pop()
                value, size, event = done.value, 0, done.event  # noqa: PLW2901 (an anchor is the start event's)
                if event.anchor:
                    anchors[event.anchor] = (value, nodes - done.nodes)
            elif kind is yaml.AliasEvent:
                if event.anchor not in anchors:
                    raise _at(
                        event, f"the alias *{event.anchor} has no anchor before it", "an alias cannot hold itself"
                    )
                value, size = anchors[event.anchor]
            else:
                continue
            nodes += size
            if nodes > MAX_NODES:
                raise _at(event, f"more than {MAX_NODES} nodes, aliases expanded", "write less in one document")
            if kind is yaml.ScalarEvent and event.anchor:
                anchors[event.anchor] = (value, 1)
            if not stack:
                result = value
            else:
                if marks is not None and kind in (yaml.ScalarEvent, yaml.AliasEvent):
                    stack[-1].mark(marks, stack, event)
                stack[-1].add(value, event, twice)
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, text) from None
    except (yaml.YAMLError, UnicodeEncodeError):
        raise _forbidden(text) from None
    return result


class _Open:
    """A mapping or a sequence that is being filled."""

    __slots__ = ("event", "key", "key_event", "keys", "nodes", "value")

    def __init__(self, value: Any, event: Any, nodes: int) -> None:
        self.value, self.event, self.nodes = value, event, nodes
        self.key: str | None = None
        self.key_event: Any = None
        self.keys: dict[str, Any] = {}

    def add(self, value: Any, event: Any, twice: list[_Unreadable]) -> None:
        if type(self.value) is list:
            self.value.append(value)
        elif self.key_event is None:
            if type(event) is not yaml.ScalarEvent:
                raise _at(event, "a key must be a plain word", "quote it if it is meant as text")
            self.key, self.key_event = event.value, event
            if event.value in self.keys:
                above = _place(event)[0] - _place(self.keys[event.value])[0]
                twice.append(
                    _at(event, f"the key {event.value!r} is here twice", f"its twin stands {above} lines above")
                )
            if event.value != "<<":
                self.keys[event.value] = event
        else:
            if self.key == "<<" and not self.key_event.style:
                self._merge(value)
            else:
                self.value[self.key] = value
            self.key_event = None

    def _merge(self, value: Any) -> None:
        """YAML's merge key: what is merged gives way to what is written here."""
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                raise _at(self.key_event, "<< takes a mapping, or a list of them", "refer to one with *name")
            for key, merged in source.items():
                self.value.setdefault(key, merged)

    def step(self) -> str | int | None:
        """The last step of the path to the entry that is being filled; None while a key is read."""
        if type(self.value) is list:
            return len(self.value)
        return self.key if self.key_event is not None else None

    def mark(self, marks: Marks, stack: list[_Open], event: Any) -> None:
        """Notes where the entry that is being filled stands."""
        steps = [opened.step() for opened in stack[: stack.index(self) + 1]]
        path = tuple(step for step in steps if step is not None)
        if len(path) == len(steps):
            marks[path] = (_place(self.key_event if self.key_event is not None else event), _place(event))


@lru_cache(maxsize=64)
def _marks(text: str) -> Marks:
    marks: Marks = {}
    _build(text, [], marks)
    return marks


def _scalar(event: Any) -> Any:
    if event.tag is None:
        return _plain(event.value) if event.implicit[0] else event.value
    if event.tag not in _TAGS:
        raise _at(event, f"the tag {event.tag} is not known", "remove the tag, or quote the text")
    return event.value if event.tag == _STRING_TAG else _plain(event.value)


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line, event.start_mark.column


def _at(event: Any, message: str, hint: str) -> _Unreadable:
    return _Unreadable(message, event.start_mark.line, event.start_mark.column, hint)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> _Unreadable:
    """The parser's finding in the words of someone who edits the file."""
    rows = text.split("\n")
    mark: Any = error.problem_mark or error.context_mark
    if mark and error.context_mark and not "".join(rows[mark.line :]).strip():
        mark = error.context_mark  # found out at the end of the text: what is not closed stands where it was opened
    line, column = (mark.line, mark.column) if mark else (0, 0)
    said = ", ".join(part for part in (error.context, error.problem) if part) or "this is no YAML"
    row = rows[line] if line < len(rows) else ""
    if "\t" in row[: len(row) - len(row.lstrip())]:
        return _Unreadable("a tab in the indentation", line, row.index("\t"), "indent with spaces")
    hint = _SYNTAX_HINTS.get(error.problem or "", "check the indentation and the colons here and on the line above")
    return _Unreadable(said, line, column, hint)


_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _forbidden(text: str) -> _Unreadable:
    """The first character that YAML does not allow; control characters, mostly."""
    found = _FORBIDDEN.search(text)
    at = found.start() if found else 0
    code = f"U+{ord(found[0]):04X}" if found else "something"
    line, column = text.count("\n", 0, at), at - (text.rfind("\n", 0, at) + 1)
    return _Unreadable(
        f"{code} is no character that YAML allows", line, column, "remove it, or escape it in double quotes"
    )


_SYNTAX_HINTS = {
    "mapping values are not allowed in this context": "quote a text that contains ': ', or mend the indentation",
    "could not find expected ':'": "a key needs a colon and a space after it",
    "found unexpected end of stream": "a quote or a bracket is never closed",
    "found character that cannot start any token": "quote a text that begins with @, `, % or a tab",
    "did not find expected key": "this line is indented differently from its neighbours, or a bracket is not closed",
    "did not find expected ',' or ']'": "close the bracket, or put a comma between the items",
    "did not find expected ',' or '}'": "close the brace, or put a comma between the entries",
    "did not find expected '-' indicator": "every item of this list begins with '- ' in the same column",
}


def _called(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "something else")


def _first(text: str, line: int) -> tuple[int, int]:
    """Where the text's first node stands in the file."""
    row, column = _marks(text).get((), ((0, 0), (0, 0)))[1]
    return line + row, column + 1
