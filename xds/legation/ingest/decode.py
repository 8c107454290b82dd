"""From a document to an object: strict, and with everything that is wrong with it at once.

| code | severity | says |
|---|---|---|
| IST0106 | error | a field is unknown, missing, of the wrong type, or against Istio's rules |
| IST0133 | warning | it is valid and probably not meant |
| IST0134 | warning | a TCP port of a ServiceEntry without addresses |
| IST0002 | warning | a field or value is deprecated |
| LEG0201 | error | `apiVersion`, `kind` or `metadata` is missing or no text |
| LEG0202 | error | the kind is unknown, in a group whose kinds we know |
| LEG0203 | error | the kind belongs to another group, or the group has no such version |
| LEG0204 | error | a name or namespace that is none |
| LEG0205 | warning | a name or label that Kubernetes would refuse |
| LEG0206 | info | the document is of a group or kind that is no business of ours |
| LEG0301 | warning | a field or value is known and has no effect yet |
| LEG0302 | warning | a kind is known and has no effect yet |
| LEG0401 | error | a kind that protects is known and has no effect yet |

Positions: the key of what is unknown, the value of what is wrong, the key of the parent of what is missing.
"""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import ValidationError

from legation.ingest import kinds
from legation.ingest.documents import At, Document
from legation.ingest.kinds import BY_NAME, GROUPS, KINDS, Kind
from legation.ingest.marks import walk, without_nulls
from legation.ingest.words import nearest, said
from legation.model import distribution
from legation.model.base import Finding, FrozenMap, Model
from legation.model.meta import Key, Object, ObjectMeta
from legation.model.metadata import Metadata, seconds
from legation.model.values import is_label_key, is_label_value, shown
from legation.problems import Path, Problem, Severity, dotted

INVALID: Final = "IST0106"
DOUBTFUL: Final = "IST0133"
NO_IDENTITY: Final = "LEG0201"
UNKNOWN_KIND: Final = "LEG0202"
WRONG_GROUP: Final = "LEG0203"
BAD_NAME: Final = "LEG0204"
ODD_NAME: Final = "LEG0205"
FOREIGN: Final = "LEG0206"
KIND_NOT_SUPPORTED: Final = "LEG0302"
KIND_PROTECTS: Final = "LEG0401"

DEFAULT_NAMESPACE: Final = "default"

_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)*\Z")
_FOREIGN_NAME: Final = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9.:_]*\Z")
_NAMESPACE: Final = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?\Z")
_LONGEST: Final = 253
_LONGEST_LABEL: Final = 63


def decode(document: Document) -> tuple[Object | None, list[Problem]]:
    """The object of a document, or None where it must not be served; and everything that there is to say about it.

    None comes with an error, or with a warning or info that says that such documents have no effect. Never raises.
    """
    report = _Report(document)
    kind = _kind(report)
    if kind is None:
        return None, report.problems
    meta = _metadata(report, kind)
    model = _body(report, kind)
    _support(report, kind)
    key = identify(document)
    if report.failed or key is None or meta is None or model is None or not kind.supported:
        return None, report.problems
    return Object(key, meta, model), report.problems


def identify(document: Document) -> Key | None:
    """A document's identity, whether or not it is valid; None where it has none that can be told.

    A misspelt kind is taken for the one that is meant: the object that it was stays in service. Documents of kinds that
    are no business of ours have an identity too: `Service.serving.knative.dev`. No part of it can lead out of a directory.
    """
    value = document.value
    name, namespace = _text(value, "metadata", "name"), _text(value, "metadata", "namespace")
    written, api_version = _text(value, "kind"), _text(value, "apiVersion")
    if not name or not written or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", written) or len(name) > _LONGEST:
        return None
    group = _group(api_version)
    kind = _find(written, group)
    if kind is None and (meant := _meant(written, group)) is not None:
        kind = _find(meant, group)
        if kind is None:
            return None
    if not (_NAME if kind else _FOREIGN_NAME).match(name):
        return None
    if kind is not None and not kind.namespaced:
        return Key(kind.identity, "", name)
    if namespace and (len(namespace) > _LONGEST_LABEL or not _NAMESPACE.match(namespace)):
        return None
    if kind is None and group and not _FOREIGN_NAME.match(group):
        return None
    identity = kind.identity if kind else f"{written}.{group}".rstrip(".")
    return Key(identity, namespace or DEFAULT_NAMESPACE, name)


class _Report:
    """The problems of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.failed = False
        self._object: str | None = None

    def add(self, severity: Severity, code: str, message: str, hint: str, path: Path = (), at: At = At.VALUE) -> None:
        if self._object is None:
            self._object = _called(self.document)
        line, column = self.document.position(path, at)
        self.failed = self.failed or severity is Severity.ERROR
        written = dotted(self.document.written(path))
        made = Problem(severity, code, message, self.document.file, line, column, self._object, written, hint)
        if made not in self.problems:
            self.problems.append(made)

    def error(self, code: str, message: str, hint: str, path: Path = (), at: At = At.VALUE) -> None:
        self.add(Severity.ERROR, code, message, hint, path, at)

    def found(self, finding: Finding) -> None:
        code = finding.code or (INVALID if finding.severity is Severity.ERROR else DOUBTFUL)
        self.add(
            finding.severity, code, finding.message, finding.hint, finding.path,
            At.KEY if finding.at_key else At.VALUE,
        )  # fmt: skip


def _called(document: Document) -> str:
    """An object, as messages name it: by the words that are written."""
    kind, key = _text(document.value, "kind"), identify(document)
    return shown(f"{kind} {key.namespace}/{key.name}".replace(" /", " ") if key is not None else kind)


# --- kind ---------------------------------------------------------------------------------------------------------


def _text(value: Any, *keys: str) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _find(name: str, group: str) -> Kind | None:
    """The kind that a document means, even by a group that is misspelt; None for a kind that is no business of ours."""
    candidates = BY_NAME.get(name, ())
    for kind in candidates:
        if kind.group == group:
            return kind
    near = [kind for kind in candidates if _resembles(group, kind.group)]
    return near[0] if near else None


def _resembles(group: str, known: str) -> bool:
    """Whether a group is a slip of the pen for a known one, and no group of somebody else's."""
    if group in GROUPS or "." not in group or group.endswith(".k8s.io"):
        return True
    return known != "" and (("istio" in group and "istio" in known) or nearest(group, [known], 0.85) == known)


def _kind(report: _Report) -> Kind | None:
    value = report.document.value
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field), str) or not value[field]:
            written = value.get(field) is not None
            message = f"`{field}` must be a text" if written else f"`{field}` is missing"
            hint = "write what it is, such as VirtualService"
            if field == "apiVersion":
                known = BY_NAME.get(_text(value, "kind"))
                hint = f"write `apiVersion: {known[0].api_version if known else 'networking.istio.io/v1'}`"
            report.error(NO_IDENTITY, message, hint, (field,), At.VALUE if written else At.KEY)
    name = _text(value, "kind")
    group, _, version = _text(value, "apiVersion").rpartition("/")
    kind = _find(name, group)
    if report.failed or (kind is not None and not version):
        return kind  # what it should be is said; the rest is looked at all the same
    if kind is None:
        _no_kind(report, name, group)
        return None
    if kind.group != group:
        belongs = f"{name} belongs to {kind.group or 'the core group'}"
        message = f"{belongs}, not to {shown(group) or 'the core group'}"
        report.error(WRONG_GROUP, message, f"write `apiVersion: {kind.api_version}`", ("apiVersion",))
    elif version not in kind.versions:
        message = f"{kind.group or 'the core group'} has no version {shown(version)} of {name}"
        report.error(WRONG_GROUP, message, f"write `apiVersion: {kind.api_version}`", ("apiVersion",))
    return kind


def _meant(name: str, group: str) -> str | None:
    """The kind that an unknown word was probably meant for, empty if that cannot be told; None if the word need not be
    known: it is of somebody else's group, or another kind of Kubernetes' own.
    """
    mine = [kind.name for kind in KINDS if kind.group == group]
    if kinds.ours(group) or (
        "." in group and any(nearest(group, [known], 0.85) for known in GROUPS if kinds.ours(known))
    ):
        return nearest(name, mine or BY_NAME)
    return nearest(name, mine, 0.8) or None


def _no_kind(report: _Report, name: str, group: str) -> None:
    meant = _meant(name, group)
    if meant is None:
        what = f"{shown(name)} of {shown(group)}" if group else shown(name)
        report.add(Severity.INFO, FOREIGN, f"{what} means nothing here and is passed over", "nothing to do", ("kind",))
        return
    known = [kind.name for kind in KINDS if kind.group == group or (kinds.ours(kind.group) and group not in GROUPS)]
    hint = f"did you mean {meant}?" if meant else f"known: {', '.join(known)}"
    report.error(UNKNOWN_KIND, f"{group or 'the core group'} has no kind {shown(name)} that we know", hint, ("kind",))


def _support(report: _Report, kind: Kind) -> None:
    if kind.supported:
        return
    if kind.protects:
        message = f"{kind.name} is not supported yet, and what it protects would be open"
        hint = "remove it, or start with --ignore-security-kinds if you mean that"
        report.error(KIND_PROTECTS, message, hint, ("kind",))
    else:
        message = f"{kind.name} is not supported yet: the document has no effect"
        hint = "do not count on it, or remove it"
        report.add(Severity.WARNING, KIND_NOT_SUPPORTED, message, hint, ("kind",))


# --- metadata -----------------------------------------------------------------------------------------------------


def _metadata(report: _Report, kind: Kind) -> ObjectMeta | None:
    raw = report.document.value.get("metadata")
    if raw is None:
        report.error(NO_IDENTITY, "`metadata` is missing", "add `metadata` with a `name`", ("metadata",), At.KEY)
        return None
    try:
        read = Metadata.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        for path, at, message, hint in said(error, Metadata, kind.secret):
            report.error(INVALID, message, hint, ("metadata", *path), at)
        name, namespace = _text(raw, "name"), _text(raw, "namespace") or None
        if name or namespace:
            _names(report, kind, name or "x", namespace)
        return None
    _names(report, kind, read.name, read.namespace or None)
    for field, entries in (("labels", read.labels), ("annotations", read.annotations)):
        for key, text in (entries or {}).items():
            if not is_label_key(key) or (field == "labels" and not is_label_value(text)):
                message = f"Kubernetes would refuse this {field.removesuffix('s')}"
                hint = "use letters, digits, '-', '_' and '.', at most 63"
                report.add(Severity.WARNING, ODD_NAME, message, hint, ("metadata", field, key), At.KEY)
    distributed = (read.annotations or {}).get(distribution.ANNOTATION, "")
    if distributed and distributed.lower() not in distribution.MEANT:
        message = f'"{shown(distributed)}" is no way to distribute traffic, so this has no effect'
        where = ("metadata", "annotations", distribution.ANNOTATION)
        report.add(Severity.WARNING, DOUBTFUL, message, "write PreferSameZone or PreferSameNode", where)
    created = seconds(read.creation_timestamp) if read.creation_timestamp else None
    return ObjectMeta(read.labels or FrozenMap(), read.annotations or FrozenMap(), created)


def _names(report: _Report, kind: Kind, name: str, namespace: str | None) -> None:
    where = ("metadata", "name")
    if not _NAME.match(name) or len(name) > _LONGEST:
        hint = "use letters, digits, '-' and '.', beginning and ending with a letter or digit"
        report.error(BAD_NAME, f'"{shown(name)}" is no name', _without_underscore(name) or hint, where)
    elif kind.dns_label and ("." in name or len(name) > _LONGEST_LABEL):
        message = f"the name of a {kind.name} has no dots and at most 63 characters"
        report.error(BAD_NAME, message, f"write {name.replace('.', '-')[:_LONGEST_LABEL]}", where)
    elif name != name.lower():
        message = f'Kubernetes would refuse the name "{shown(name)}"'
        report.add(Severity.WARNING, ODD_NAME, message, f"write {name.lower()}", where)
    if namespace is None or not kind.namespaced:
        return
    where = ("metadata", "namespace")
    if not _NAMESPACE.match(namespace) or len(namespace) > _LONGEST_LABEL:
        hint = "use letters, digits and '-', at most 63, or leave it out for `default`"
        report.error(BAD_NAME, f'"{shown(namespace)}" is no namespace', _without_underscore(namespace) or hint, where)
    elif namespace != namespace.lower():
        message = f'Kubernetes would refuse the namespace "{shown(namespace)}"'
        report.add(Severity.WARNING, ODD_NAME, message, f"write {namespace.lower()}", where)


def _without_underscore(name: str) -> str:
    better = name.replace("_", "-")
    return f"write {better}" if better != name and _NAME.match(better) else ""


# --- the rest -----------------------------------------------------------------------------------------------------

_AROUND: Final = ("apiVersion", "kind", "metadata", "spec", "status")


def _body(report: _Report, kind: Kind) -> Model | None:
    value = report.document.value
    if kind.beside:
        assert kind.model is not None
        return _read(report, kind, kind.model, {key: value[key] for key in value if key not in _AROUND[:3]}, ())
    for key in value:
        if key not in _AROUND:
            meant = nearest(key, _AROUND)
            inside = kind.model is not None and any(
                key == (field.alias or "") for field in kind.model.model_fields.values()
            )
            hint = (
                "move it below `spec`, indented by two"
                if inside
                else f"did you mean `{meant}`?"
                if meant
                else "remove it"
            )
            report.error(INVALID, f"unknown field `{shown(key)}`", hint, (key,), At.KEY)
    if kind.model is None:
        return None
    if value.get("spec") is None:
        if not kind.supported and not any(field.is_required() for field in kind.model.model_fields.values()):
            return None
        report.error(INVALID, "`spec` is missing", "add `spec`: what the object says", ("spec",), At.KEY)
        return None
    return _read(report, kind, kind.model, value["spec"], ("spec",))


def _read(report: _Report, kind: Kind, model: type[Model], raw: Any, path: Path) -> Model | None:
    """The model of what is written at a path, or None, with all that is wrong with it."""
    seen = walk(model, raw, path)
    if seen.nulls:
        for where in seen.nulls:
            if not kind.beside:
                message = f"nothing is written after `{where[-1]}:`, so it counts as left out"
                report.add(Severity.WARNING, DOUBTFUL, message, "write a value, or remove the key", where, At.KEY)
        raw = without_nulls(model, raw)
        seen = walk(model, raw, path)
    made: Model | None = None
    try:
        made = model.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        for where, at, message, hint in said(error, model, kind.secret):
            report.error(INVALID, message, hint, (*path, *where), at)
    for finding in seen.findings:
        report.found(finding)
    return made
