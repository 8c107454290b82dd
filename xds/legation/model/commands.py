"""Envoy's substitution commands (`%REQ(x-name)%`) in the values of headers: which there are, and how they are written.

Envoy refuses a whole route configuration for one that it does not know. The tables are what Envoy 1.40 takes, found by
giving it each word (with and without an argument and a length) and seeing whether it starts.

Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
"""

from __future__ import annotations

import difflib
import re
from typing import Final

_BARE: Final = frozenset({
    "ACCESS_LOG_TYPE", "BYTES_RECEIVED", "BYTES_RETRANSMITTED", "BYTES_SENT", "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS", "CUSTOM_FLAGS", "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS", "DOWNSTREAM_DIRECT_LOCAL_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_PORT", "DOWNSTREAM_HANDSHAKE_DURATION", "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT", "DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
    "DOWNSTREAM_LOCAL_CLOSE_REASON", "DOWNSTREAM_LOCAL_DNS_SAN", "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN", "DOWNSTREAM_LOCAL_OTHERNAME_SAN", "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_LOCAL_SUBJECT", "DOWNSTREAM_LOCAL_URI_SAN", "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1", "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS", "DOWNSTREAM_PEER_DNS_SAN", "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_1", "DOWNSTREAM_PEER_FINGERPRINT_256", "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_ISSUER", "DOWNSTREAM_PEER_OTHERNAME_SAN", "DOWNSTREAM_PEER_SERIAL", "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN", "DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_REMOTE_PORT", "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_SESSION_ID", "DOWNSTREAM_TLS_VERSION", "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED", "DOWNSTREAM_WIRE_BYTES_SENT", "DURATION", "FILTER_CHAIN_NAME", "GRPC_STATUS",
    "GRPC_STATUS_NUMBER", "HOSTNAME", "LOCAL_REPLY_BODY", "PACKETS_RETRANSMITTED", "PROTOCOL",
    "REQUESTED_SERVER_NAME", "REQUEST_DURATION", "REQUEST_HEADERS_BYTES", "REQUEST_TX_DURATION", "RESPONSE_CODE",
    "RESPONSE_DURATION", "RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG", "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TRAILERS_BYTES", "RESPONSE_TX_DURATION", "ROUNDTRIP_DURATION", "ROUTE_NAME", "SPAN_ID", "STREAM_ID",
    "TLS_JA3_FINGERPRINT", "TLS_JA4_FINGERPRINT", "TRACE_ID", "UNIQUE_ID", "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW", "UPSTREAM_CONNECTION_ID", "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION", "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", "UPSTREAM_DETECTED_CLOSE_TYPE", "UPSTREAM_HEADER_BYTES_RECEIVED",
    "UPSTREAM_HEADER_BYTES_SENT", "UPSTREAM_HOST", "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", "UPSTREAM_HOST_NAME", "UPSTREAM_HOST_NAMES_ATTEMPTED",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT", "UPSTREAM_LOCAL_ADDRESS", "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_LOCAL_DNS_SAN", "UPSTREAM_LOCAL_IP_SAN", "UPSTREAM_LOCAL_PORT", "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_PEER_CERT", "UPSTREAM_PEER_DNS_SAN", "UPSTREAM_PEER_IP_SAN", "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT", "UPSTREAM_PEER_URI_SAN", "UPSTREAM_PROTOCOL", "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_PORT", "UPSTREAM_REQUEST_ATTEMPT_COUNT", "UPSTREAM_TLS_CIPHER", "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION", "UPSTREAM_TRANSPORT_FAILURE_REASON", "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT", "VIRTUAL_CLUSTER_NAME",
})  # fmt: skip
"""Commands that stand alone."""
_MAY_ASK: Final = frozenset({
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_PEER_CERT_V_END", "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "EMIT_TIME", "EMIT_TIME_LOCAL", "RESPONSE_CODE_DETAILS", "START_TIME",
    "START_TIME_LOCAL", "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START", "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
})  # fmt: skip
"""Commands that may have an argument."""
_CUT: Final = frozenset({
    "PATH", "QUERY_PARAMS",
})  # fmt: skip
"""Commands that may be cut to a length, and have no argument."""
_ASK: Final = frozenset({
    "CLUSTER_METADATA", "COMMON_DURATION", "PER_REQUEST_STATE", "UPSTREAM_METADATA",
})  # fmt: skip
"""Commands that need an argument."""
_ASK_AND_CUT: Final = frozenset({
    "DYNAMIC_METADATA", "ENVIRONMENT", "FILTER_STATE", "METADATA", "QUERY_PARAM", "REQ", "REQUEST_HEADER",
    "RESP", "RESPONSE_HEADER", "RESPONSE_TRAILER", "STREAM_INFO_REQ", "TRAILER", "UPSTREAM_FILTER_STATE",
})  # fmt: skip
"""Commands that need an argument, and may be cut to a length."""
_UNCHECKED: Final = frozenset({"CEL", "COALESCE"})
"""Commands whose arguments are small languages of their own. One that is wrong takes all routes of a table with it, and
nobody can tell here; so they are refused.
"""
_OF_HEADERS: Final = frozenset({"REQ", "REQUEST_HEADER", "RESP", "RESPONSE_HEADER", "RESPONSE_TRAILER", "TRAILER"})
"""Commands that ask for a header, or for another one if that is not there: `%REQ(a?b)%`."""
_NOT_IN_LOGS: Final = frozenset({"PER_REQUEST_STATE"})

KNOWN: Final = _BARE | _MAY_ASK | _CUT | _ASK | _ASK_AND_CUT | _UNCHECKED
_COMMAND: Final = re.compile(r"%(?:%|([A-Z0-9_]+)(\(.*?\))?(:[0-9]{1,18})?%)")


def fault(value: str, logged: bool = False) -> tuple[str, str] | None:
    """What is wrong with the commands in a header's value, or in the format of a log, and what to do; None if Envoy takes
    them.
    """
    at = value.find("%")
    while at >= 0:
        found = _COMMAND.match(value, at)
        if found is None:
            lower = re.match(r"%([A-Za-z0-9_]+)(\(.*?\))?(:[0-9]+)?%", value[at:])
            if lower is not None and lower[1].upper() in KNOWN and lower[1] not in KNOWN:
                return f"Envoy's commands are in capitals: %{lower[1]}% is none", f"write %{lower[1].upper()}…%"
            return "a lone %", "write %% for a percent sign, or a whole command: %REQ(x-name)%"
        if found[1] is not None and (wrong := _misused(found[1], found[2] or "", found[3] is not None, logged)):
            return wrong
        at = value.find("%", found.end())
    return None


def _misused(name: str, brackets: str, cut: bool, logged: bool) -> tuple[str, str] | None:
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN - _UNCHECKED, n=1)
        return f"Envoy has no command %{name}%", f"did you mean %{near[0]}%?" if near else "write %% for a percent sign"
    if name in _UNCHECKED:
        said = f"what %{name}% asks for cannot be checked here, and one mistake in it would take every route along"
        return said, "use other commands, or a hook (docs/hooks.md)"
    if logged and name in _NOT_IN_LOGS:
        return f"Envoy has no command %{name}% in logs", "leave it out"
    if name in _ASK | _ASK_AND_CUT:
        if not brackets:
            return f"%{name}% needs to know which", f"write %{name}(…)%"
        if wrong := _fault_of_argument(name, brackets[1:-1]):
            return f"%{name}{brackets}%: {wrong[0]}", wrong[1]
    if name in _BARE | _CUT and brackets:
        return f"%{name}% has no argument", f"write %{name}%"
    if cut and name not in _CUT | _ASK_AND_CUT:
        return f"%{name}% cannot be cut to a length", "leave out the colon and the number"
    return None


_HEADER: Final = re.compile(r":?[!#$%&'*+\-.^_`|~0-9A-Za-z]*\Z")
_STATE: Final = re.compile(r"[^:]+(:(PLAIN|TYPED|FIELD:.+))?\Z")
_DURATION: Final = re.compile(r"[^:]*:[^:]*(:(ms|us|ns))?\Z")
_PLACES: Final = ("DYNAMIC", "CLUSTER", "ROUTE", "UPSTREAM_HOST", "LISTENER", "VIRTUAL_HOST", "LISTENER_FILTER_CHAIN")


def _fault_of_argument(name: str, text: str) -> tuple[str, str] | None:
    """What is wrong with what stands in brackets: found by asking Envoy 1.40, too."""
    if not text:
        return "nothing in the brackets", f"write %{name}(…)%"
    if name in _OF_HEADERS:
        if text.count("?") > 1:
            return "more than one alternative", "name one header, and perhaps another one after a ?"
        if not all(_HEADER.match(part) for part in text.split("?")):
            return "this is no header name", "use letters, digits and '-'"
    if name in ("FILTER_STATE", "UPSTREAM_FILTER_STATE") and not _STATE.match(text):
        return "this is no filter state", "write its key, and perhaps :PLAIN, :TYPED or :FIELD:name after it"
    if name == "COMMON_DURATION" and not _DURATION.match(text):
        return "this is no time between two points", "write DS_RX_BEG:DS_RX_END:ms, or us or ns"
    if name == "METADATA" and text.partition(":")[0] not in _PLACES:
        return "nothing has such metadata", f"known: {', '.join(_PLACES)}"
    return None
