"""What pydantic found, in words for someone who edits the file: what is wrong, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic_core import ErrorDetails, ValidationError

from legation.ingest.descriptions import description
from legation.ingest.documents import At
from legation.ingest.marks import model_at, plan
from legation.model.base import Model, camel
from legation.model.values import shown
from legation.problems import Path


class Said(NamedTuple):
    """A finding of the schema: where (below the model), at which end of the entry, what is wrong, what to do."""

    path: Path
    at: At
    message: str
    hint: str


def said(error: ValidationError, model: type[Model], secret: bool = False) -> Iterator[Said]:
    """Pydantic's errors in our words. With `secret`, nothing that is written is quoted."""
    for detail in error.errors(include_url=False):
        if detail["type"] == "too_short" and detail["input"]:
            continue  # pydantic does not count the items that are wrong, and they have errors of their own
        yield _said(detail, model, secret)


def _said(error: ErrorDetails, model: type[Model], secret: bool) -> Said:
    path = tuple(error["loc"])
    kind, value = error["type"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if path and path[-1] == "[key]":
        path = path[:-1]
        return Said(path, At.KEY, *_key(kind, path, context))
    name = str(path[-1]) if path else ""
    if kind == "missing":
        parent = model_at(model, path[:-1])
        return Said(path, At.KEY, f"`{name}` is missing", _to_add(parent, name))
    if kind in ("extra_forbidden", "invalid_key"):
        return Said(path, At.KEY, f"unknown field `{shown(name)}`", _unknown(model_at(model, path[:-1]), name))
    if value is None:
        return Said(path, At.VALUE, "nothing is written here", _empty(model_at(model, path)))
    message, hint = _value(kind, value, context, model_at(model, path), secret)
    return Said(path, At.VALUE, message, hint)


def nearest(word: str, known: Iterable[str], cutoff: float = 0.7) -> str:
    """The known word that was probably meant; empty if none comes near."""
    names = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), names, n=1, cutoff=cutoff)
    return names[found[0]] if found else ""


def _key(kind: str, path: Path, context: Mapping[str, Any]) -> tuple[str, str]:
    if kind == "legation":
        return str(context["said"]), str(context["hint"])
    if kind == "string_too_short":
        return "an empty name", "write a name"
    if kind == "string_too_long":
        return "this name is too long", f"{context.get('max_length')} characters are the most"
    return f"`{shown(str(path[-1]))}` is no text", "quote it"


def _to_add(parent: type[Model] | None, name: str) -> str:
    if parent is None:
        return f"add `{name}`"
    part = plan(parent).parts.get(name)
    if part is None:
        return f"add `{name}`"
    text = description(parent, part.name).rstrip(".")
    example = part.child.model.example if part.child is not None else ""
    written = f"add `{name}: {example}`" if example and part.shape.value == "one" else f"add `{name}`"
    return f"{written}: {text[:1].lower()}{text[1:]}" if text else written


_MOST_NAMES: Final = 12


def _unknown(parent: type[Model] | None, name: str) -> str:
    if parent is None:
        return "remove it"
    known = list(plan(parent).parts)
    meant = camel(name) if camel(name) in known else nearest(name, known)
    if meant:
        return f"did you mean `{meant}`?"
    names = ", ".join(known[:_MOST_NAMES]) + (", …" if len(known) > _MOST_NAMES else "")
    return f"remove it; known here: {names}" if known else "remove it"


def _empty(model: type[Model] | None) -> str:
    return (
        f"write {model.example}, or remove it" if model is not None and model.example else "write a value, or remove it"
    )


def _what(value: Any, secret: bool = False) -> str:
    """A value, as a message names it."""
    if type(value) is bool:
        return "true or false" if secret else str(value).lower()
    if isinstance(value, int | float):
        return "a number" if secret else f"the number {_number(value)}"
    if isinstance(value, str):
        return "a text" if secret else f'the text "{shown(value)}"'
    if isinstance(value, list):
        return "a list"
    return "a mapping of fields" if isinstance(value, dict) else "nothing"


def _number(value: float) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if value.is_integer() and abs(value) < 1e15 else f"{value:g}"
    return str(value) if abs(value) < 10**18 else "of more than 18 digits"


def _value(
    kind: str, value: Any, context: Mapping[str, Any], model: type[Model] | None, secret: bool
) -> tuple[str, str]:
    is_now = f"this is {_what(value, secret)}"
    match kind:
        case "legation":
            return str(context["said"]), str(context["hint"])
        case "string_type":
            if isinstance(value, list | dict):
                return f"a text is needed here, {is_now}", "write one plain value"
            plain = "" if secret else f': "{str(value).lower() if type(value) is bool else _number(value)}"'
            return f"a text is needed here, {is_now}", f"quote it{plain}"
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"a whole number is needed here, {is_now}", _as_number(value, whole=True)
        case "float_type" | "float_parsing" | "finite_number":
            return f"a number is needed here, {is_now}", _as_number(value, whole=False)
        case "bool_type" | "bool_parsing":
            if isinstance(value, str) and value.lower() in ("true", "false"):
                return f"true or false is needed here, {is_now}", "write it without quotes"
            return f"true or false is needed here, {is_now}", "write true or false"
        case "literal_error" | "enum":
            return _choice(value, context, secret)
        case "tuple_type" | "list_type" | "iterable_type" | "set_type":
            return f"a list is needed here, {is_now}", "begin each item with '- ', or write [item, item]"
        case "dict_type" | "mapping_type":
            return f"a mapping of names to values is needed here, {is_now}", "write each entry as name: value"
        case "model_type" | "model_attributes_type" | "dataclass_type":
            example = f"write {model.example}" if model is not None and model.example else "write it as field: value"
            return f"a mapping of fields is needed here, {is_now}", example
        case "greater_than_equal" | "greater_than":
            least = context.get("ge", context.get("gt"))
            return f"{is_now.removeprefix('this is ')} is too small", f"{_bound(least)} is the least"
        case "less_than_equal" | "less_than":
            most = context.get("le", context.get("lt"))
            return f"{is_now.removeprefix('this is ')} is too large", f"{_bound(most)} is the most"
        case "string_too_short" | "too_short":
            return "this is empty", "write something, or remove the field"
        case "string_too_long" | "too_long":
            most = context.get("max_length")
            return (
                f"this is too long: at most {most}",
                f"shorten it to {most} {'characters' if 'string' in kind else 'items'}",
            )
        case "string_pattern_mismatch":
            return (
                f"{_what(value, secret)} has characters that are not allowed here",
                "use letters, digits, '-' and '_'",
            )
        case "string_unicode":
            return "this text is no valid Unicode", "remove the broken characters"
    return f"this is not what is needed here ({kind})", "see the reference of this kind"


def _bound(number: Any) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def _as_number(value: Any, whole: bool) -> str:
    if isinstance(value, str):
        text = value.strip()
        if text.removeprefix("-").isdigit() and len(text) < 18:
            return f"write it without quotes: {text}"
        return "write a number, without quotes"
    if type(value) is float and whole:
        return f"write {int(value)}" if value.is_integer() and abs(value) < 1e15 else "write it without a fraction"
    return "write a number"


def _choice(value: Any, context: Mapping[str, Any], secret: bool) -> tuple[str, str]:
    listed = str(context.get("expected", ""))
    names = [name.strip().strip("'") for name in listed.replace(" or ", ", ").split(",")]
    names = [name for name in dict.fromkeys(names) if name]
    choices = f"one of {', '.join(names)}"
    if not isinstance(value, str):
        hint = f"write {choices}"
    elif value.isdigit() and value in names:
        hint = f"write it without quotes: {value}"
    else:
        meant = nearest(value, names)
        hint = f"did you mean {meant}?" if meant else f"write {choices}"
    return f"{_what(value, secret)} is not known here: it must be {choices}", hint
