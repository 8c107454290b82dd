"""The plain values of the models: strict scalars, durations, hosts, labels, expressions, each with its own words.

Nothing is guessed: a number is no text, a text is no number, `1.0` is no whole number. A wrong value is a
PydanticCustomError of type `legation`, whose context carries what is wrong (`said`) and what to do (`hint`).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import re2
from pydantic import AfterValidator, Field, PlainValidator, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from legation.model.base import FrozenMap, Idle

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T", bound=str)

Str = Annotated[str, Strict()]
Bool = Annotated[bool, Strict()]
Int = Annotated[int, Strict(), Field(ge=-(2**31), le=2**31 - 1)]
Count = Annotated[int, Strict(), Field(ge=0, le=2**31 - 1)]
Uint32 = Annotated[int, Strict(), Field(ge=0, le=2**32 - 1)]
Uint64 = Annotated[int, Strict(), Field(ge=0, le=2**64 - 1)]
Float = Annotated[float, Strict()]
PortNumber = Annotated[int, Strict(), Field(ge=1, le=65535)]
PortOrZero = Annotated[int, Strict(), Field(ge=0, le=65535)]
Filled = Annotated[str, Strict(), Field(min_length=1)]
Map: TypeAlias = Annotated[Mapping[K, V], AfterValidator(FrozenMap)]


def wrong(said: str, hint: str) -> PydanticCustomError:
    """The error of a value: what is wrong with it, and what to do."""
    return PydanticCustomError("legation", "{said}", {"said": _clean(said), "hint": _clean(hint)})


def _clean(text: str) -> str:
    """Without half characters, which pydantic could not report."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _check(test: Callable[[str], object], said: str, hint: str) -> AfterValidator:
    """A validator of texts; `said` follows the quoted text."""

    def validate(text: T) -> T:
        if not test(text):
            raise wrong(f'"{shown(text)}" {said}', hint)
        return text

    return AfterValidator(validate)


def shown(text: str) -> str:
    """A text as messages quote it: at most 60 characters, control characters escaped."""
    clean = text if text.isprintable() else text.encode("unicode_escape").decode()
    return clean if len(clean) <= 60 else clean[:57] + "…"


# --- durations ----------------------------------------------------------------------------------------------------

_PART: Final = re.compile(r"([0-9]{0,18})(?:\.([0-9]{0,18}))?(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS: Final = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000,
    "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000,
}  # fmt: skip
_LONGEST: Final = 2562047 * 3_600_000_000_000
_UNITS: Final = "write a number with a unit: 100ms, 1.5s, 5m30s or 1h"
DURATION_PATTERN: Final = r"^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$"


def nanoseconds(text: str) -> int:
    """A duration in Go's grammar (`1h`, `5m30s`, `100ms`, `1.5s`, `0`) in nanoseconds.

    Raises PydanticCustomError for anything else, below zero, and beyond what Go and Envoy can hold (292 years).
    """
    if text == "0":
        return 0
    total, at = 0, 0
    while at < len(text) or not text:
        part = _PART.match(text, at)
        if part is None or not (part[1] or part[2]):
            raise _no_duration(text)
        unit, fraction = _NANOSECONDS[part[3]], part[2] or ""
        total += int(part[1] or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        at = part.end()
    if total > _LONGEST:
        raise wrong(f'"{shown(text)}" is longer than 292 years', "the longest that Envoy takes is 2562047h")
    return total


def _no_duration(text: str) -> PydanticCustomError:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return wrong(f'"{shown(text)}" has no unit', f"write {text}s if seconds are meant")
    if text.startswith("-"):
        return wrong(f'"{shown(text)}" is below zero', "write a duration of 1ms or more")
    if found := re.fullmatch(r"([0-9]+) *(d|day|days|w|sec|secs|second|seconds|min|mins|minutes?|hours?)", text):
        unit = found[2]
        count = int(found[1][:12])
        better = {"d": f"{count * 24}h", "w": f"{count * 168}h", "s": f"{count}s", "m": f"{count}m", "h": f"{count}h"}
        return wrong(f'"{shown(text)}" is no duration: {unit} is no unit', f"write {better[unit[0]]}")
    return wrong(f'"{shown(text)}" is no duration', _UNITS)


def _text_of_duration(value: Any) -> str:
    if isinstance(value, str):
        return value
    if type(value) in (int, float) and abs(value) < 2**63:
        raise wrong(f"a duration needs a unit, this is the number {value:g}", f"write {value:g}s if seconds are meant")
    raise wrong("a duration is needed here", _UNITS)


@lru_cache(maxsize=1024)
def _whole_milliseconds(text: str, least: int) -> timedelta:
    total = nanoseconds(text)
    if total < least * 1_000_000:
        raise wrong(f'"{shown(text)}" is too short: 1ms is the least', "write 1ms or more, or remove the field")
    if total % 1_000_000:
        raise wrong(f'"{shown(text)}" is finer than a millisecond', "write whole milliseconds")
    return timedelta(milliseconds=total // 1_000_000)


def _duration(value: Any) -> timedelta:
    return value if type(value) is timedelta else _whole_milliseconds(_text_of_duration(value), 1)


def _duration_or_zero(value: Any) -> timedelta:
    return value if type(value) is timedelta else _whole_milliseconds(_text_of_duration(value), 0)


_DURATION_SCHEMA: Final = WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["1s", "100ms"]})

Duration = Annotated[timedelta, PlainValidator(_duration), _DURATION_SCHEMA]
"""A whole number of milliseconds, at least one."""
DurationOrZero = Annotated[timedelta, PlainValidator(_duration_or_zero), _DURATION_SCHEMA]
"""A whole number of milliseconds; 0 says "none" or "for ever"."""

# --- names and hosts ----------------------------------------------------------------------------------------------

_LABEL: Final = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?\Z")
_WILDCARD_LABEL: Final = re.compile(r"(?:\*|(?:\*-?)?[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)\Z")
_LABEL_HINT: Final = "use letters, digits and '-', at most 63, beginning and ending with a letter or digit"


def is_label(text: str) -> bool:
    """Whether a text is one label of a DNS name. Istio allows upper case."""
    return _LABEL.match(text) is not None


def is_ip(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address, without brackets, mask or zone."""
    if not text or text[0] not in "0123456789abcdefABCDEF:" or "%" in text:
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=8192)
def fault_of_host(text: str, wildcard: bool = True) -> str:
    """Why a text is no DNS name (with `wildcard`, one whose first label may be or begin with `*`); empty if it is one."""
    if not text:
        return "is empty"
    if len(text) > 255:
        return "is longer than 255 characters"
    first, dot, rest = text.partition(".")
    if not (_WILDCARD_LABEL if wildcard else _LABEL).match(first):
        return "is no host name" + (": '*' may only stand at the beginning" if "*" in text and wildcard else "")
    labels = rest.split(".") if dot else []
    if labels and labels[-1] == "":
        labels.pop()  # an absolute name ends in a dot
    for label in labels:
        if not _LABEL.match(label):
            return "is no host name" + (": '*' may only stand at the beginning" if "*" in label else "")
    if labels and labels[-1].isdigit():
        return "is no host name: its last part is a number"
    return ""


_HOST_HINT: Final = "write a DNS name such as reviews or reviews.prod.svc.cluster.local"


def _hint_of_host(text: str) -> str:
    if "://" in text:
        return "write the host alone, without a scheme"
    if "/" in text:
        return "write the host alone, without a path or namespace"
    if re.search(r":[0-9]+\Z", text):
        return "write the host alone; the port has a field of its own"
    if "_" in text:
        return "a DNS name has no '_'; use '-'"
    return _HOST_HINT


def _host(text: T) -> T:
    fault = fault_of_host(text)
    if fault and not is_ip(text):
        raise wrong(f'"{shown(text)}" {fault}', _hint_of_host(text))
    return text


def _destination_host(text: T) -> T:
    if text == "*":
        raise wrong('"*" is no destination', "name one service")
    return _host(text)


Host = Annotated[Str, AfterValidator(_host)]
"""A DNS name, perhaps with a wildcard in front, or an IP address."""
DestinationHost = Annotated[Str, AfterValidator(_destination_host)]
"""A Host that is not `*`."""
Label = Annotated[Str, _check(is_label, "is no valid name", _LABEL_HINT)]
"""One DNS label: the name of a subset, a port, a namespace."""
Address = Annotated[Str, _check(is_ip, "is no IP address", "write an address such as 10.0.0.7 or ::1")]


def is_subnet(text: str) -> bool:
    """Whether a text is an IP address or a block of them (`10.0.0.0/8`)."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "%" not in text


Subnet = Annotated[Str, _check(is_subnet, "is no IP address or block", "write 10.0.0.7 or 10.0.0.0/8")]


def _bind(text: T) -> T:
    if not (is_ip(text) or re.match(r"unix:///.*[^/]\Z", text) or re.match(r"unix://@.+\Z", text)):
        raise wrong(f'"{shown(text)}" is no address to listen on', "write an IP address, or unix:///an/absolute/path")
    return text


Bind = Annotated[Str, AfterValidator(_bind)]
"""An IP address, or a Unix socket."""

# --- labels -------------------------------------------------------------------------------------------------------

_KEY_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_KEY_PREFIX: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/")


def is_label_key(text: str) -> bool:
    """Whether Kubernetes takes a text as a label's key: `app`, `topology.kubernetes.io/zone`."""
    prefix = _KEY_PREFIX.match(text)
    return _KEY_NAME.match(text, prefix.end() if prefix else 0) is not None


def is_label_value(text: str) -> bool:
    """Whether Kubernetes takes a text as a label's value; it may be empty."""
    return not text or _KEY_NAME.match(text) is not None


_LABEL_KEY: Final = _check(
    is_label_key, "is no label key", "use letters, digits, '-', '_' and '.', at most 63, perhaps after a domain and '/'"
)
_LABEL_VALUE: Final = _check(
    is_label_value,
    "is no label value",
    "use letters, digits, '-', '_' and '.', at most 63; a selector has no wildcards",
)
Labels = Map[Annotated[Str, _LABEL_KEY], Annotated[Str, _LABEL_VALUE]]
"""Labels, or a selector of labels: key and value must be equal."""

# --- expressions --------------------------------------------------------------------------------------------------

MAX_REGEX: Final = 1024
MAX_PROGRAM: Final = 32768
"""Instructions that an expression may become. Envoy's own limit is 100, some eighty characters; our bootstrap sets this one,
as Istio's does."""
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


@lru_cache(maxsize=4096)
def fault_of_regex(text: str) -> str:
    """Why Envoy would refuse a regular expression; empty if it takes it."""
    if len(text) > MAX_REGEX:
        return f"is longer than {MAX_REGEX} characters"
    try:
        program: int = re2.compile(text, _OPTIONS).programsize
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else ""
        return f"is no RE2 expression: {reason.decode(errors='replace') if isinstance(reason, bytes) else reason}"
    return "is too complicated" if program > MAX_PROGRAM else ""


def _regex(text: T) -> T:
    return text if text == "*" else _strict_regex(text)


def _strict_regex(text: T) -> T:
    if not text:
        raise wrong("an empty expression", "write an expression, or remove the field")
    if fault := fault_of_regex(text):
        raise wrong(f'"{shown(text)}" {fault}', _hint_of_regex(text))
    return text


def _hint_of_regex(text: str) -> str:
    if re.search(r"\(\?(<?[=!])", text):
        return "RE2 has no look-ahead or look-behind; split the match in two"
    if text.startswith("*"):
        return "write .* for any text"
    return "see the syntax of RE2 (no look-around, no back-references)"


Regex = Annotated[Str, AfterValidator(_regex)]
"""An RE2 expression; `*` is let through (among headers it says: present)."""
StrictRegex = Annotated[Str, AfterValidator(_strict_regex)]
"""An RE2 expression."""


def _line(text: T) -> T:
    if has_controls(text):
        raise wrong("this holds a line break or another control character, which Envoy refuses", "remove it")
    return text


def has_controls(text: str) -> bool:
    """Whether a text holds what no header may hold."""
    return not text.isprintable() and any((ord(sign) < 32 and sign != "\t") or ord(sign) == 127 for sign in text)


Line = Annotated[Str, AfterValidator(_line)]
"""A text that travels in a header: one line, no control characters."""

# --- the rest -----------------------------------------------------------------------------------------------------


def _pass_over(_: Any) -> None:
    return None


PassedOver = Annotated[None, PlainValidator(_pass_over), WithJsonSchema({}), Idle("Kubernetes' own notes")]
"""What is known, may be anything, and means nothing here: it makes no two objects differ."""

# --- bytes --------------------------------------------------------------------------------------------------------


def _base64(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise wrong("bytes are written as base64 text", "encode them with base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise wrong("this is no base64", "encode the bytes with base64, without line breaks") from None


Base64 = Annotated[bytes, PlainValidator(_base64), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
"""Bytes, written in base64. Never quoted in a message: it may be a secret."""
