"""The JSON Schema of a kind, for editors that complete and check while one types.

It says less than `decode`: whether names exist and texts parse is for `legation validate`.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from legation.ingest.descriptions import description
from legation.ingest.kinds import KINDS, Kind
from legation.ingest.marks import Plan, descend, plan
from legation.model.base import AnyOf, Excludes, Model, OneOf, Rule
from legation.model.metadata import Metadata

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


class _Quiet(GenerateJsonSchema):
    """Says nothing of defaults that are no JSON: a mapping that never changes is left out of the schema anyway."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"non-serializable-default"}  # noqa: RUF012 (as in its base)


def schema(kind: str) -> Schema:
    """The JSON Schema (2020-12) of whole documents of a kind, `apiVersion` to `spec`.

    `kind` is the word after `kind:`; for the Gateway of Gateway API, `Gateway.gateway.networking.k8s.io`. Raises KeyError
    for a kind that we do not know.
    """
    found = next((known for known in KINDS if kind in (known.identity, f"{known.name}.{known.group}")), None)
    if found is None:
        raise KeyError(kind)
    return _document(found)


def names() -> tuple[str, ...]:
    """The kinds that there is a schema for, by the names that `schema` takes."""
    return tuple(kind.identity for kind in KINDS)


def _document(kind: Kind) -> Schema:
    metadata, definitions = _message(Metadata)
    properties: Schema = {
        "apiVersion": {
            "description": "Group and version; the versions mean the same.",
            "enum": [f"{kind.group}/{version}" if kind.group else version for version in kind.versions],
        },
        "kind": {"const": kind.name},
        "metadata": metadata,
    }
    required = ["apiVersion", "kind", "metadata"]
    made: Schema = {"$schema": DIALECT, "title": kind.name, "type": "object"}
    if kind.model is None:
        made["description"] = "Known by name only: it is not supported yet."
    else:
        made["description"] = (kind.model.__doc__ or "").strip()
        body, parts = _message(kind.model)
        definitions |= parts
        if kind.beside:
            properties |= body.get("properties", {})
            required += body.get("required", [])
            made |= {key: value for key, value in body.items() if key in ("additionalProperties", "allOf")}
        else:
            properties |= {"spec": body, "status": {"description": "Kubernetes' own notes."}}
            required.append("spec")
            made["additionalProperties"] = False
    made |= {"properties": properties, "required": required}
    if definitions:
        made["$defs"] = definitions
    return made


def _message(model: type[Model]) -> tuple[Schema, Schema]:
    """A model's own schema, and the definitions that it refers to."""
    made = model.model_json_schema(by_alias=True, schema_generator=_Quiet)
    definitions: Schema = made.pop("$defs", {})
    by_title = {part.__name__: part for part in descend(model)}
    for name, definition in definitions.items():
        if name in by_title:
            _dress(definition, plan(by_title[name]))
    _dress(made, plan(model))
    return made, definitions


def _dress(made: Schema, here: Plan) -> None:
    """Puts in what pydantic does not know: words, marks and rules; takes out what helps nobody."""
    made.pop("title", None)
    made["description"] = (here.model.__doc__ or "").strip()
    for alias, part in here.parts.items():
        written = made.get("properties", {}).get(alias)
        if written is None:
            continue
        written.pop("title", None)
        if written.get("default", 0) in (None, [], {}, ""):
            del written["default"]
        text = description(here.model, part.name)
        if part.not_yet is not None and not part.not_yet.values:
            text = f"(Not supported yet.) {text}"
        elif part.not_yet is not None:
            text = f"{text} (Not supported yet: {', '.join(sorted(part.not_yet.values))}.)"
        if part.partly is not None:
            text = f"{text} (Not supported yet: {part.partly.but}.)"
        if part.idle is not None and part.not_yet is None:
            text = f"(No effect: {part.idle.why}.) {text}".strip()
        if part.deprecated is not None and not part.deprecated.values:
            written["deprecated"] = True
            text = f"{text} Use `{part.deprecated.instead}`."
        if text:
            made["properties"][alias] = {"description": text, **written}
        _without_null(made["properties"][alias])
    rules = [condition for rule in here.rules for condition in _conditions(rule)]
    if rules:
        made["allOf"] = rules


def _without_null(written: Schema) -> None:
    """Null says "left out" when it is read, but nobody should be offered it."""
    choices = [choice for choice in written.get("anyOf", ()) if choice.get("type") != "null"]
    if "anyOf" in written and len(choices) > 1:
        written["anyOf"] = choices
    elif "anyOf" in written:
        del written["anyOf"]
        for key, value in choices[0].items():
            written.setdefault(key, value)


def _conditions(rule: Rule) -> list[Schema]:
    """A rule in the words of JSON Schema, as far as it has any for it."""
    if isinstance(rule, OneOf):
        pairs = [(one, other) for place, one in enumerate(rule.fields) for other in rule.fields[place + 1 :]]
        made: list[Schema] = [{"not": {"required": list(pair)}} for pair in pairs]
        return [*made, _some(rule.fields)] if rule.required else made
    if isinstance(rule, AnyOf):
        return [_some((*rule.fields, *rule.unless))]
    if isinstance(rule, Excludes):
        return [{"not": {"required": [rule.field, other]}} for other in rule.others]
    return []


def _some(fields: tuple[str, ...]) -> Schema:
    return {"anyOf": [{"required": [field]} for field in fields]}
