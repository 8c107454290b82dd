"""Nodes as a client status request picks them (`envoy.type.matcher.v3.NodeMatcher`), by what was understood of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import re2
from envoy.config.core.v3 import base_pb2
from envoy.type.matcher.v3 import node_pb2, string_pb2, struct_pb2, value_pb2

from legation.model.proxy import Client, Proxy

_QUIET: Final = re2.Options()
_QUIET.log_errors = False


def node(of: Proxy) -> base_pb2.Node:
    """A proxy as it introduced itself, without what nobody here reads."""
    made = base_pb2.Node(id=of.id, user_agent_name="envoy" if of.client is Client.ENVOY else "grpc")
    made.user_agent_version = of.version
    made.locality.region, made.locality.zone, made.locality.sub_zone = (
        of.locality.region, of.locality.zone, of.locality.subzone,
    )  # fmt: skip
    made.metadata.update(_metadata(of))
    return made


def picker(matchers: Iterable[node_pb2.NodeMatcher]) -> Callable[[Proxy], bool]:
    """Whether one of the matchers wants a proxy; every proxy if there are none.

    Raises ValueError for what cannot be understood.
    """
    wanted = [_node(matcher) for matcher in matchers]
    return lambda proxy: not wanted or any(wants(proxy) for wants in wanted)


def _metadata(of: Proxy) -> dict[str, Any]:
    """The fields of the node's metadata that are read at all."""
    told = {"NAMESPACE": of.namespace, "LABELS": dict(of.labels), "INTERCEPTION_MODE": of.capture.value.upper()}
    told |= {"WORKLOAD_NAME": of.deployment} if of.deployment else {}
    return told | ({"GENERATOR": "grpc"} if of.client is Client.GRPC else {})


def _node(matcher: node_pb2.NodeMatcher) -> Callable[[Proxy], bool]:
    by_id = _string(matcher.node_id) if matcher.HasField("node_id") else lambda _: True
    by_metadata = [_struct(one) for one in matcher.node_metadatas]
    return lambda proxy: by_id(proxy.id) and all(wants(_metadata(proxy)) for wants in by_metadata)


def _struct(matcher: struct_pb2.StructMatcher) -> Callable[[Any], bool]:
    wants, path = _value(matcher.value), [segment.key for segment in matcher.path]

    def found(metadata: Any) -> bool:
        for key in path:
            metadata = metadata.get(key) if isinstance(metadata, dict) else None
        return wants(metadata)

    return found


def _value(matcher: value_pb2.ValueMatcher) -> Callable[[Any], bool]:
    """None stands for a value that is not there, which is all that `null` can be here."""
    match matcher.WhichOneof("match_pattern"):
        case "string_match":
            wants = _string(matcher.string_match)
            return lambda value: isinstance(value, str) and wants(value)
        case "present_match":
            return lambda value: (value is not None) is matcher.present_match
        case "null_match":
            return lambda value: value is None
        case "or_match":
            either = [_value(one) for one in matcher.or_match.value_matchers]
            return lambda value: any(wants(value) for wants in either)
        case "bool_match" | "double_match" | "list_match":
            return lambda _: False  # there are no such values in what is read
        case _:
            raise ValueError("a value matcher without a pattern")


def _string(matcher: string_pb2.StringMatcher) -> Callable[[str], bool]:
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        try:
            pattern = re2.compile(matcher.safe_regex.regex, _QUIET)
        except re2.error as error:
            raise ValueError(f"{matcher.safe_regex.regex!r} is no regular expression: {error}") from None
        return lambda text: pattern.fullmatch(text) is not None
    if kind not in ("exact", "prefix", "suffix", "contains"):
        raise ValueError("a string matcher without a pattern that is known here")
    fold: Callable[[str], str] = str.lower if matcher.ignore_case else str
    wanted = fold(getattr(matcher, kind))
    tests: dict[str, Callable[[str], bool]] = {
        "exact": lambda text: fold(text) == wanted,
        "prefix": lambda text: fold(text).startswith(wanted),
        "suffix": lambda text: fold(text).endswith(wanted),
        "contains": lambda text: wanted in fold(text),
    }
    return tests[kind]
