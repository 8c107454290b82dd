"""Resources for people: proto JSON with Envoy's own field names, and nothing that must not be seen."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import any_pb2, json_format

from legation.snapshot.snapshot import Resource


def message(of: Resource) -> dict[str, Any]:
    """The bare message of a resource, with snake_case names, as it stands in Envoy's own configuration files."""
    packed = any_pb2.Any.FromString(of.body)
    content: dict[str, Any] = _plain(json_format.MessageToDict(packed, preserving_proto_field_name=True))
    content.pop("@type", None)
    _redact(content)
    return content


_MAPS = frozenset({"json_format", "filter_metadata", "typed_per_filter_config", "typed_extension_protocol_options"})
"""Fields that are maps: protobuf has no order for them, and nobody should see them change theirs."""
REDACTED: Final = "[redacted]"
_HIDDEN: Final = frozenset({"private_key", "password", "pkcs12", "session_ticket_keys", "generic_secret"})


def _redact(content: Any, hidden: bool = False) -> None:
    """What is in a field for keys is not shown, whoever put it there; where a key is kept is."""
    if isinstance(content, list):
        for item in content:
            _redact(item, hidden)
    elif isinstance(content, dict):
        for name in [name for name in content if hidden and name in ("inline_bytes", "inline_string")]:
            del content[name]
            content["inline_string"] = REDACTED
        for name, value in content.items():
            _redact(value, hidden or name in _HIDDEN)


def _plain(value: Any) -> Any:
    """The same in plain dicts and lists: what is inside an Any comes as an OrderedDict, which YAML does not write."""
    if isinstance(value, dict):
        return {
            key: _plain(dict(sorted(item.items())) if key in _MAPS and isinstance(item, dict) else item)
            for key, item in value.items()
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value
