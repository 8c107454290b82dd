"""Walks a call through rendered configuration the way Envoy does, as far as this project renders it.

Sources: Envoy's "HTTP route matching" page and `source/common/router/config_impl.cc`. Regular expressions are RE2 and
match in full. What it does not know it refuses (`Unknown`), so that a new field cannot pass unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import unquote, urlsplit

import re2

Message = Mapping[str, Any]
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


class Unknown(Exception):
    """The configuration says something that this simulation does not understand."""


@dataclass(frozen=True)
class Call:
    """One HTTP request at a proxy's port, or (`scheme` is tcp or tls) a connection of another protocol.

    `host` is the Host header as it is sent; `sni` the name that a TLS client asks for, the host if it is not given;
    `called` the address that the client connected to. `arrives`: it was redirected to the proxy of the workload at `port`.
    """

    host: str
    port: int
    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"
    address: str = ""
    sni: str | None = None
    alpn: Sequence[str] = ()
    called: str = ""
    arrives: bool = False

    def header(self, name: str) -> str | None:
        pseudo = {":method": self.method, ":authority": self.host, ":path": self.path, ":scheme": self.scheme}
        name = name.lower()
        if name == "host":
            return self.host
        return pseudo[name] if name in pseudo else {key.lower(): value for key, value in self.headers.items()}.get(name)

    @property
    def is_tls(self) -> bool:
        return self.scheme in ("https", "tls")

    @property
    def asks_for(self) -> str:
        """The name in the TLS handshake."""
        return (self.sni if self.sni is not None else re.sub(r":[0-9]+$", "", self.host)).lower()

    @property
    def bare_path(self) -> str:
        """The path after Envoy's normalisation, without query and fragment."""
        return normal(re.split(r"[?#]", self.path, maxsplit=1)[0])

    @property
    def query(self) -> str:
        """The query with its question mark; empty if there is none."""
        _, mark, query = self.path.partition("?")
        return mark + query.partition("#")[0]

    @property
    def parameters(self) -> dict[str, str]:
        """Query parameters; of repeated ones the first."""
        found: dict[str, str] = {}
        for part in filter(None, self.query.removeprefix("?").split("&")):
            name, _, value = part.partition("=")
            found.setdefault(unquote(name), unquote(value))
        return found


@dataclass(frozen=True)
class Config:
    """What a proxy was served: the bare messages, by type."""

    listeners: list[Message]
    routes: list[Message]
    clusters: list[Message]
    endpoints: list[Message]
    secrets: list[Message] = field(default_factory=list)

    def cluster(self, name: str) -> Message | None:
        return next((cluster for cluster in self.clusters if cluster["name"] == name), None)


def call(config: Config, of: Call) -> dict[str, Any]:
    """What becomes of a call, in the words of a golden case's `calls.yaml`.

    `to`: the cluster, or the clusters with their weights; `as`: host and path as they are sent on, if they differ;
    `copies`: the clusters that get a copy, with their share in percent;
    `route`: the route's name, if it has one; `status` and `location` or `body` where the proxy answers by itself.
    A cluster that does not exist, or has no endpoint, is a status too: 503.

    Where TLS ends here, `certificate` are the secrets that are shown, and `client` what is asked of the client.
    """
    if any("api_listener" in listener for listener in config.listeners):
        return _by_target(config, of)
    chain = _chain(config, of)
    if chain is None:
        return {"status": "refused"}
    shown = _handshake(config, chain)
    if "handshake" in shown:
        return shown
    *before, one = chain["filters"]
    if {found["name"] for found in before} - {"envoy.filters.network.sni_dynamic_forward_proxy"}:
        raise Unknown(f"network filters: {before}")
    filter_config = one["typed_config"]
    if filter_config["@type"] == TCP_PROXY:
        return {**shown, **_passed_on(config, filter_config)}
    assert filter_config["@type"] == MANAGER
    if of.scheme in ("tcp", "tls"):
        return {"status": "refused"}
    return {**shown, **_answer(config, filter_config, of)}


def _by_target(config: Config, of: Call) -> dict[str, Any]:
    """A call of gRPC's own library: the listener has the target's name, and its table is for whoever is called so."""
    listener = next((found for found in config.listeners if found["name"] == f"{of.host}:{of.port}"), None)
    if listener is None:
        return {"status": "UNAVAILABLE"}
    name = listener["api_listener"]["api_listener"]["rds"]["route_config_name"]
    (table,) = (table for table in config.routes if table["name"] == name)
    for host in table.get("virtual_hosts", ()):
        assert host["domains"] == ["*"]
        for route in host.get("routes", ()):
            if matches(route["match"], of):
                return _outcome(config, route, of)
    return {"status": "UNAVAILABLE"}


def _answer(config: Config, manager: Message, of: Call) -> dict[str, Any]:
    table = manager.get("route_config")
    if table is None:
        name = manager["rds"]["route_config_name"]
        table = next((table for table in config.routes if table["name"] == name), None)
        if table is None:
            raise Unknown(f"no route configuration {name}: the listener would wait for ever")
    host = _virtual_host(table, of.host)
    if host is None:
        return {"status": 404}
    if host.get("require_tls") == "ALL" and not of.is_tls:
        return {"status": 301, "location": f"https://{of.host}{of.path}"}
    for route in host.get("routes", ()):
        if matches(route["match"], of):
            return _outcome(config, route, of)
    return {"status": 404}


_CHAIN_MATCH = {"destination_port", "server_names", "prefix_ranges", "application_protocols", "transport_protocol"}


def _chain(config: Config, of: Call) -> Message | None:
    """The filter chain that Envoy takes: by the address that was called, the name that is asked for (exact before the
    longest wildcard before any), the transport, what is offered to speak.
    """
    listener = _listener(config, of)
    if listener is None:
        return None
    chains = list(listener["filter_chains"])
    inspectors = {one["name"]: one for one in listener.get("listener_filters", ())}
    inspects = inspectors.keys()
    offered = [*of.alpn, *_found_out(inspectors.get("envoy.filters.listener.http_inspector"), of)]
    told = listener.get("use_original_dst") or "envoy.filters.listener.original_dst" in inspects
    called = of.port if told else 0
    chains = _best(chains, "destination_port", lambda found: found == called)
    named = of.asks_for if of.is_tls and "envoy.filters.listener.tls_inspector" in inspects else ""
    chains = _best(chains, "prefix_ranges", lambda found: _rank_of_address(found, of.called))
    chains = _best(chains, "server_names", lambda found: _rank_of_name(found, named))
    chains = _best(chains, "transport_protocol", lambda found: of.is_tls != (found == "raw_buffer"))
    chains = _best(chains, "application_protocols", lambda found: bool({*found} & {*offered}))
    return chains[0] if chains else listener.get("default_filter_chain")


def _listener(config: Config, of: Call) -> Message | None:
    """The listener that has a connection: of those with the port, one with the address; where traffic is redirected, the
    one for every address, else the one to which it is redirected.
    """
    if of.arrives:
        return next((one for one in config.listeners if one["name"] == "virtualInbound"), None)
    redirected = next((one for one in config.listeners if one.get("use_original_dst")), None)
    by_address = {
        one["address"]["socket_address"]["address"]: one
        for one in config.listeners
        if one["address"].get("socket_address", {}).get("port_value") == of.port
    }
    if redirected is None:
        return by_address.get(of.address) if of.address else next(iter(by_address.values()), None)
    return by_address.get(of.address or of.called) or by_address.get("0.0.0.0") or redirected


def _found_out(inspector: Message | None, of: Call) -> tuple[str, ...]:
    """What the first bytes of clear text are taken for, where they are looked at."""
    if inspector is None or of.scheme != "http":
        return ()
    if (disabled := inspector.get("filter_disabled")) is not None:
        looked_at = disabled["not_match"]
        rules = looked_at["or_match"]["rules"] if "or_match" in looked_at else [looked_at]
        ranges = [rule["destination_port_range"] for rule in rules]
        if not any(one["start"] <= of.port < one["end"] for one in ranges):
            return ()
    return ("http/1.1",)


def _best(chains: list[Message], key: str, rank: Callable[[Any], Any]) -> list[Message]:
    """The chains that ask for the most specific of what fits; where none that asks fits, those that do not ask."""
    ranked: dict[Any, list[Message]] = {}
    for chain in chains:
        match = chain.get("filter_chain_match", {})
        if unknown := match.keys() - _CHAIN_MATCH:
            raise Unknown(f"filter chain match: {', '.join(sorted(unknown))}")
        score = rank(match[key]) if key in match else -1
        if score is not False and score is not None:
            ranked.setdefault(int(score), []).append(chain)
    return ranked[max(ranked)] if ranked else []


def _rank_of_address(ranges: list[Message], address: str) -> int | None:
    networks = [ip_network(f"{found['address_prefix']}/{found['prefix_len']}") for found in ranges]
    fitting = [network.prefixlen for network in networks if address and ip_address(address) in network]
    return max(fitting, default=None)


def _rank_of_name(names: list[str], asked: str) -> int | None:
    if asked and asked in names:
        return 1 << 16
    return max((len(name) for name in names if name.startswith("*") and asked.endswith(name[1:])), default=None)


def _handshake(config: Config, chain: Message) -> dict[str, Any]:
    """What a client sees of TLS that ends here; nothing if it does not. `handshake` where it fails for want of a secret."""
    if "transport_socket" not in chain:
        return {}
    context = chain["transport_socket"]["typed_config"]
    common = context["common_tls_context"]
    shown = [secret["name"] for secret in common["tls_certificate_sds_secret_configs"]]
    validation = common.get("combined_validation_context", {}).get("validation_context_sds_secret_config", {})
    known = {secret["name"] for secret in config.secrets}
    missing = [name for name in (*shown, *filter(None, [validation.get("name")])) if name not in known]
    if missing:
        return {"handshake": "refused", "missing": missing}
    must = context.get("require_client_certificate", False)
    assert not must or validation, "a client's certificate is asked for, and any would do"
    asked = {"client": "required" if must else "optional"} if validation else {}
    return {"certificate": shown[0] if len(shown) == 1 else shown, **asked}


def _passed_on(config: Config, filter_config: Message) -> dict[str, Any]:
    """Where a connection goes."""
    if "cluster" in filter_config:
        to = filter_config["cluster"]
        return {"closed": reason} if (reason := _no_answer(config, to)) else {"to": to}
    weighted = filter_config["weighted_clusters"]["clusters"]
    return {"to": {entry["name"]: entry["weight"] for entry in weighted}}


def _virtual_host(table: Message, host: str) -> Message | None:
    """Exact before the longest suffix (`*.x`) before the longest prefix (`x.*`) before `*`."""
    if table.get("ignore_port_in_host_matching"):
        host = re.sub(r":[0-9]+$", "", host)
    host = host.lower()
    by_domain: dict[str, Message] = {}
    for candidate in table.get("virtual_hosts", ()):
        for domain in candidate["domains"]:
            assert domain.lower() not in by_domain, f"Envoy refuses a table with a domain twice: {domain}"
            by_domain[domain.lower()] = candidate
    if host in by_domain:
        return by_domain[host]
    suffixes = [domain for domain in by_domain if domain.startswith("*") and domain != "*"]
    for domain in sorted(suffixes, key=len, reverse=True):
        if len(host) >= len(domain) and host.endswith(domain[1:]):
            return by_domain[domain]
    prefixes = [domain for domain in by_domain if domain.endswith("*") and domain != "*"]
    for domain in sorted(prefixes, key=len, reverse=True):
        if len(host) >= len(domain) and host.startswith(domain[:-1]):
            return by_domain[domain]
    return by_domain.get("*")


_MATCH = {"prefix", "path", "safe_regex", "case_sensitive", "headers", "query_parameters"}


def matches(match: Message, of: Call) -> bool:
    """Whether a RouteMatch holds."""
    if unknown := match.keys() - _MATCH:
        raise Unknown(f"match: {', '.join(sorted(unknown))}")
    path, fold = of.bare_path, (lambda text: text) if match.get("case_sensitive", True) else str.lower
    if "prefix" in match and not fold(path).startswith(fold(match["prefix"])):
        return False
    if "path" in match and fold(path) != fold(match["path"]):
        return False
    if "safe_regex" in match and not re2.fullmatch(match["safe_regex"]["regex"], path):
        return False
    return all(_header(wanted, of.header(wanted["name"])) for wanted in match.get("headers", ())) and all(
        _parameter(wanted, of.parameters.get(wanted["name"])) for wanted in match.get("query_parameters", ())
    )


def _header(wanted: Message, value: str | None) -> bool:
    """A missing header matches nothing, inverted or not, unless it is read as an empty one or asked for as such."""
    if unknown := wanted.keys() - {
        "name",
        "string_match",
        "present_match",
        "invert_match",
        "treat_missing_header_as_empty",
    }:
        raise Unknown(f"header match: {', '.join(sorted(unknown))}")
    invert = wanted.get("invert_match", False)
    if "present_match" in wanted:
        return ((value is not None) == wanted["present_match"]) != invert
    if value is None and not wanted.get("treat_missing_header_as_empty", False):
        return False
    return _string(wanted["string_match"], value or "") != invert


def _parameter(wanted: Message, value: str | None) -> bool:
    if "present_match" in wanted:
        return (value is not None) == wanted["present_match"]
    return value is not None and _string(wanted["string_match"], value)


def _string(wanted: Message, value: str) -> bool:
    match dict(wanted):
        case {"exact": text}:
            return value == str(text)
        case {"prefix": text}:
            return value.startswith(text)
        case {"safe_regex": {"regex": text}}:
            return re2.fullmatch(text, value) is not None
    raise Unknown(f"string match: {wanted}")


def _outcome(config: Config, route: Message, of: Call) -> dict[str, Any]:
    named = {"route": route["name"]} if route.get("name") else {}
    if "redirect" in route:
        codes = {"FOUND": 302, "SEE_OTHER": 303, "TEMPORARY_REDIRECT": 307, "PERMANENT_REDIRECT": 308}
        status = codes.get(route["redirect"].get("response_code", ""), 301)
        return {**named, "status": status, "location": _location(route, of)}
    if "non_forwarding_action" in route:
        return {**named, "status": "UNAVAILABLE"}
    if "direct_response" in route:
        answer = route["direct_response"]
        body = answer.get("body", {})
        text = body.get("inline_string", body.get("inline_bytes"))
        return {**named, "status": answer["status"], **({} if text is None else {"body": text})}
    action = route["route"]
    sent = {"host": _sent_host(action, of), "path": _sent_path(route, of)}
    changed = {what: value for what, value in sent.items() if value != {"host": of.host, "path": of.path}[what]}
    to: Any
    if "cluster" in action:
        to = action["cluster"]
        if reason := _no_answer(config, to):
            return {**named, "status": 503, "why": reason}
    else:
        entries = action["weighted_clusters"]["clusters"]
        to = {}
        for entry in entries:
            name = entry["name"] + (f" ({reason})" if (reason := _no_answer(config, entry["name"])) else "")
            to[name] = to.get(name, 0) + entry["weight"]
    copies = dict(_copies(config, action))
    return {**named, "to": to, **({"as": changed} if changed else {}), **({"copies": copies} if copies else {})}


def _copies(config: Config, action: Message) -> Iterator[tuple[str, float]]:
    """Where copies go, with their share in percent."""
    units = {"HUNDRED": 1, "TEN_THOUSAND": 100, "MILLION": 10_000}
    for policy in action.get("request_mirror_policies", ()):
        name, share = policy["cluster"], policy["runtime_fraction"]["default_value"]
        reason = _no_answer(config, name)
        yield name + (f" ({reason})" if reason else ""), share["numerator"] / units[share.get("denominator", "HUNDRED")]


def _no_answer(config: Config, name: str) -> str:
    """Why a cluster cannot answer; empty if it can."""
    cluster = config.cluster(name)
    if cluster is None:
        return "no cluster"
    if cluster.get("type") == "EDS":
        assignment = next((found for found in config.endpoints if found["cluster_name"] == name), None)
        if assignment is None:
            raise Unknown(f"no load assignment {name}: Envoy would wait for ever")
    elif cluster.get("type") == "STATIC" and "load_assignment" not in cluster:
        return "no endpoint"
    elif cluster.get("type") == "ORIGINAL_DST" or "load_assignment" not in cluster:
        return ""  # whoever was called, or (dynamic forward proxy) whoever the host is
    else:
        assignment = cluster["load_assignment"]
    healthy = [
        endpoint
        for group in assignment.get("endpoints", ())
        for endpoint in group["lb_endpoints"]
        if endpoint.get("health_status", "HEALTHY") == "HEALTHY"
    ]
    return "" if healthy else "no endpoint"


def _sent_host(action: Message, of: Call) -> str:
    host: str = action.get("host_rewrite_literal", of.host)
    return host


def _sent_path(route: Message, of: Call) -> str:
    action = route["route"]
    if "regex_rewrite" in action:
        rewrite = action["regex_rewrite"]
        return re2.sub(rewrite["pattern"]["regex"], rewrite["substitution"], of.bare_path) + of.query
    if action.get("prefix_rewrite"):
        return _with_prefix(route["match"], action["prefix_rewrite"], of) + of.query
    return of.bare_path + of.query


def _with_prefix(match: Message, prefix: str, of: Call) -> str:
    """The matched prefix replaced; the whole path where the match was by path or expression."""
    return prefix + of.bare_path[len(match["prefix"]) :] if "prefix" in match else prefix


def _location(route: Message, of: Call) -> str:
    action = route["redirect"]
    scheme = action.get("scheme_redirect") or of.scheme
    host = action.get("host_redirect") or of.host
    if "host_redirect" not in action:
        bare, _, port = host.partition(":")
        other = (scheme == "https" and port == "80") or (scheme == "http" and port == "443")
        host = bare if action.get("port_redirect") or (other and scheme != of.scheme) else host
    if action.get("port_redirect"):
        host = f"{host}:{action['port_redirect']}"
    if action.get("prefix_rewrite"):
        path = _with_prefix(route["match"], action["prefix_rewrite"], of) + of.query
    elif action.get("path_redirect"):
        path = action["path_redirect"]
        path += "" if "?" in path else of.query
    else:
        path = of.path
    return f"{scheme}://{host}{path}"


def normal(path: str) -> str:
    """RFC 3986 dot segments removed, as `normalize_path` does; slashes are not merged."""
    found: list[str] = []
    segments = urlsplit(f"http://h{path}").path.split("/")
    for segment in segments[1:]:
        if segment == "..":
            found = found[:-1]
        elif segment != ".":
            found.append(segment)
    if segments[-1] in (".", ".."):
        found.append("")
    return "/" + "/".join(found)
