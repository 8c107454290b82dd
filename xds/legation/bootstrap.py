"""The bootstrap of an Envoy, a pure function from options to YAML: who it is, where its configuration comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

import yaml

from legation.model.proxy import GATEWAY_LABELS, NODE_TYPE_OF_ROLE, Capture, Role
from legation.model.values import MAX_PROGRAM

XDS_CLUSTER = "legation-xds"
"""The one static cluster. Its name has no `|`, so nothing that we render collides with it."""


class Variant(StrEnum):
    """How changes travel: what differs, or every resource of the type (state of the world)."""

    DELTA = "delta"
    SOTW = "sotw"


@dataclass(frozen=True, slots=True)
class Secure:
    """TLS to the server: paths on the proxy's host, as Envoy will read them.

    `ca` holds the authorities that the server's certificate is of, `server_name` the name or address in it ("": the host
    of `xds`). The proxy shows `certificate` and `key`, or the token in the file `token`. `folder` is where `sds_files` are
    put: files that Envoy is told of directly are read once only, so they would never be renewed (run).
    """

    folder: str
    ca: str
    certificate: str = ""
    key: str = ""
    token: str = ""
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """What `legation bootstrap` can say of a proxy.

    `xds` and `admin` are `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`; the admin's HOST is an IP address, and its port 0
    lets the system choose. `bind` is the address of a sidecar's own listeners in capture mode NONE; `port_map` says
    which written port is served on which real one; without `reuse_port` a second proxy on a port fails loudly.
    `locality` is where the proxy runs: `region/zone/subzone`, or the first of these.
    """

    role: Role
    name: str
    namespace: str = "default"
    ip: str = "127.0.0.1"
    labels: Mapping[str, str] = field(default_factory=dict)
    capture: Capture = Capture.NONE
    bind: str = "127.0.0.1"
    xds: str = "127.0.0.1:15010"
    admin: str = "127.0.0.1:15000"
    variant: Variant = Variant.DELTA
    port_map: Mapping[int, int] = field(default_factory=dict)
    reuse_port: bool = True
    locality: str = ""
    secure: Secure | None = None


def bootstrap(options: Options) -> str:
    """The YAML text for `envoy -c`.

    Raises ValueError, in words for the user, for a name, an IP address, a port or an address that cannot be one.
    """
    _check(options)
    if not _is_ip(options.bind):
        raise ValueError(f"bind {options.bind!r} is not an IP address")
    for port in (*options.port_map, *options.port_map.values()):
        if not 0 < port < 65536:
            raise ValueError(f"{port} in the port map is not a port: 1 to 65535")
    admin = _address(options.admin, "admin", lowest_port=0)
    if "socket_address" in admin and not _is_ip(admin["socket_address"]["address"]):
        raise ValueError(f"the admin address {options.admin!r} needs an IP address: Envoy binds no names")
    content = {
        "node": _node(options),
        "admin": {"address": admin},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if options.variant is Variant.DELTA else "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,  # a node lists every extension: tens of kilobytes
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": _RECONNECT}}],
            },
            "cds_config": _FROM_ADS,
            "lds_config": _FROM_ADS,
        },
        "static_resources": {"clusters": [_xds_cluster(options)]},
        "layered_runtime": {
            "layers": [
                {"name": "legation", "static_layer": {"re2.max_program_size.error_level": MAX_PROGRAM}},
                {"name": "admin", "admin_layer": {}},
            ]
        },
    }
    return _HEAD.format(options=options) + _yaml(content)


def sds_files(options: Options) -> dict[str, str]:
    """The files that the bootstrap names, by name: from them Envoy learns which files to watch. None without `secure`."""
    secure = options.secure
    if secure is None:
        return {}
    secrets: dict[str, dict[str, Any]] = {
        "authorities": {"validation_context": {"trusted_ca": {"filename": secure.ca}, **_watched(secure.ca)}}
    }
    if secure.certificate:
        chain, key = {"filename": secure.certificate}, {"filename": secure.key}
        pair = {"certificate_chain": chain, "private_key": key, **_watched(secure.certificate)}
        secrets["identity"] = {"tls_certificate": pair}
    if secure.token:
        token = {"filename": secure.token, **_watched(secure.token)}
        secrets["token"] = {"generic_secret": {"secret": token}}
    return {
        f"sds-{name}.yaml": _yaml({"resources": [{"@type": f"{_TLS}.Secret", "name": name, **secret}]})
        for name, secret in secrets.items()
    }


def _yaml(content: Any) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=1000)


def for_grpc(options: Options) -> str:
    """The JSON for gRPC's own library (GRPC_XDS_BOOTSTRAP names a file with it), which then needs no proxy.

    Of the options, those that are about a proxy's addresses and ports do not count. Raises ValueError as `bootstrap` does.
    """
    _check(options)
    _address(options.xds, "xds", lowest_port=1)
    node = _node(options)
    metadata = {key: node["metadata"][key] for key in ("NAMESPACE", "LABELS")}
    content = {
        "xds_servers": [
            {"server_uri": options.xds, **_grpc_credentials(options.secure), "server_features": ["xds_v3"]}
        ],
        "node": {**node, "metadata": {"GENERATOR": "grpc", **metadata}},
        "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s",
    }
    return json.dumps(content, indent=2) + "\n"


def _grpc_credentials(secure: Secure | None) -> dict[str, Any]:
    """How the library speaks to the server. It reads the files again by itself, every ten minutes."""
    if secure is None:
        return {"channel_creds": [{"type": "insecure"}]}
    _check_identity(secure)
    if secure.server_name:
        raise ValueError("gRPC expects the host of --xds in the server's certificate, and can be told no other name")
    files = {"ca_certificate_file": secure.ca}
    if secure.certificate:
        files |= {"certificate_file": secure.certificate, "private_key_file": secure.key}
    token = [{"type": "jwt_token_file", "config": {"jwt_token_file": secure.token}}] if secure.token else []
    return {"channel_creds": [{"type": "tls", "config": files}], **({"call_creds": token} if token else {})}


def _check_identity(secure: Secure) -> None:
    if bool(secure.certificate) != bool(secure.key):
        raise ValueError("a certificate needs its key, and the other way round")
    if not (secure.certificate or secure.token):
        raise ValueError("a server that speaks TLS asks who is there: a certificate with its key, or a token")


def _check(options: Options) -> None:
    """What is the same for all clients: ValueError for what cannot be."""
    for what, written in (("name", options.name), ("namespace", options.namespace)):
        if not _NAME.fullmatch(written):
            raise ValueError(f"the {what} {written!r} is not a name: letters, digits, '-', '_' and '.' make one")
    if not _is_ip(options.ip):
        raise ValueError(f"ip {options.ip!r} is not an IP address")
    if len(parts := options.locality.split("/")) > 3 or ("" in parts and options.locality):
        raise ValueError(f"the locality {options.locality!r} is not region, region/zone or region/zone/subzone")


_HEAD = """\
# Envoy as the {options.role} {options.namespace}/{options.name}, configured by Legation at {options.xds}. Start it with
#
#     envoy -c THIS_FILE --disable-hot-restart
#
# Several Envoys on one machine need that flag, or a --base-id of their own each (0, 1, 2, ...), and an admin port each.
"""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

_RECONNECT = {"retry_back_off": {"base_interval": "0.2s", "max_interval": "2s"}}
"""Envoy's own is 0.5 to 30 s, which leaves proxies alone long after the server is back."""

_FROM_ADS = {
    "ads": {},
    "resource_api_version": "V3",
    "initial_fetch_timeout": "0s",  # wait for the server, never be ready with a part of the configuration
}

_KEEPALIVE = {"interval": "30s", "timeout": "10s"}
"""Without pings Envoy never notices a server that is gone without a word."""

_BY_NAME = {
    "name": "envoy.clusters.dns",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
        "dns_lookup_family": "V4_PREFERRED",
        "dns_refresh_rate": "2s",
        "dns_failure_refresh_rate": {"base_interval": "0.2s", "max_interval": "2s"},
    },
}
"""A server that moves (a container made anew) is found as soon as one that comes back."""


def _node(options: Options) -> dict[str, Any]:
    labels = dict(options.labels) or (GATEWAY_LABELS if options.role is Role.GATEWAY else {})
    namespace = options.namespace
    parts = (
        NODE_TYPE_OF_ROLE[options.role],
        options.ip,
        f"{options.name}.{namespace}",
        f"{namespace}.svc.cluster.local",
    )
    return {
        "id": "~".join(parts),
        "cluster": f"{labels.get('app') or options.name}.{namespace}",
        **_locality(options.locality),
        "metadata": {
            "NAMESPACE": namespace,
            "LABELS": dict(sorted(labels.items())),
            "INTERCEPTION_MODE": options.capture.value.upper(),
            "LEGATION_BIND": options.bind,
            "LEGATION_PORT_MAP": {str(written): real for written, real in sorted(options.port_map.items())},
            **({} if options.reuse_port else {"LEGATION_REUSE_PORT": "false"}),
        },
    }


def _locality(written: str) -> dict[str, Any]:
    parts = zip(("region", "zone", "sub_zone"), written.split("/"), strict=False)
    return {"locality": dict(parts)} if written else {}


def _xds_cluster(options: Options) -> dict[str, Any]:
    address = _address(options.xds, "xds", lowest_port=1)
    secure = options.secure
    is_name = "socket_address" in address and not _is_ip(address["socket_address"]["address"])
    return {
        "name": XDS_CLUSTER,
        **({"cluster_type": _BY_NAME} if is_name else {"type": "STATIC"}),
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": _KEEPALIVE}},
                **({"http_filters": _token_filters(secure)} if secure is not None and secure.token else {}),
            }
        },
        **({"transport_socket": _tls_socket(secure, address)} if secure is not None else {}),
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_EXTENSIONS = "type.googleapis.com/envoy.extensions"


def _tls_socket(secure: Secure, address: Mapping[str, Any]) -> dict[str, Any]:
    """The server's certificate must be of the authorities and for its name; ours is shown if there is one."""
    name = secure.server_name or address.get("socket_address", {}).get("address", "")
    if not (_NAME.fullmatch(name) or _is_ip(name)):
        raise ValueError(f"the server's name {name!r} is no host name and no IP address")
    _check_identity(secure)
    san = {"san_type": "IP_ADDRESS" if _is_ip(name) else "DNS", "matcher": {"exact": name}}
    validation = {
        "default_validation_context": {"match_typed_subject_alt_names": [san]},
        "validation_context_sds_secret_config": _from_file(secure, "authorities"),
    }
    common = {
        **({"tls_certificate_sds_secret_configs": [_from_file(secure, "identity")]} if secure.certificate else {}),
        "combined_validation_context": validation,
        "alpn_protocols": ["h2"],
    }
    sni = {} if _is_ip(name) else {"sni": name}
    context = {"@type": f"{_TLS}.UpstreamTlsContext", **sni, "common_tls_context": common}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _token_filters(secure: Secure) -> list[dict[str, Any]]:
    """Puts the token of the moment on every stream; metadata that the bootstrap names would never be renewed."""
    generic = {
        "@type": f"{_EXTENSIONS}.http.injected_credentials.generic.v3.Generic",
        "credential": _from_file(secure, "token"),
        "header_value_prefix": "Bearer ",
    }
    injector = {
        "@type": f"{_EXTENSIONS}.filters.http.credential_injector.v3.CredentialInjector",
        "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
        "overwrite": True,
    }
    codec = {"@type": f"{_EXTENSIONS}.filters.http.upstream_codec.v3.UpstreamCodec"}
    return [
        {"name": "envoy.filters.http.credential_injector", "typed_config": injector},
        {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
    ]


def _from_file(secure: Secure, name: str) -> dict[str, Any]:
    source = {"path": f"{secure.folder.rstrip('/')}/sds-{name}.yaml"}
    return {"name": name, "sds_config": {"path_config_source": source, "resource_api_version": "V3"}}


def _watched(path: str) -> dict[str, Any]:
    """The folder in which a file is replaced."""
    return {"watched_directory": {"path": path.rpartition("/")[0] or "/"}}


def _address(written: str, what: str, lowest_port: int) -> dict[str, Any]:
    """An Envoy Address; ValueError for what is none."""
    if written.startswith("unix:"):
        path = written.removeprefix("unix:").removeprefix("//")
        if not path or not path.isprintable():
            raise ValueError(f"the {what} address {written!r} has no path after 'unix:'")
        return {"pipe": {"path": path}}
    host, _, port = written.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"the {what} address {written!r} is ambiguous: write IPv6 as [ADDRESS]:PORT")
    if (
        not (_NAME.fullmatch(host) or _is_ip(host))
        or not (port.isascii() and port.isdigit())
        or not lowest_port <= int(port) < 65536
    ):
        raise ValueError(f"the {what} address {written!r} is not HOST:PORT or unix:PATH")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _is_ip(written: str) -> bool:
    try:
        ip_address(written)
    except ValueError:
        return False
    return True


class _Dumper(yaml.SafeDumper):
    """Quotes every string: Envoy's reader takes a plain `n`, `on` or `0644` for something else.

    Keys that are plain words in every reader stay plain, for ours.
    """

    def ignore_aliases(self, data: object) -> bool:
        return True


_WORD = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z]\w*", re.IGNORECASE | re.ASCII)


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


def _mapping(dumper: yaml.SafeDumper, content: dict[str, Any]) -> yaml.MappingNode:
    node = dumper.represent_mapping("tag:yaml.org,2002:map", content)
    for key, _ in node.value:
        if _WORD.fullmatch(key.value):
            key.style = None
    return node


_Dumper.add_representer(str, _quoted)
_Dumper.add_representer(dict, _mapping)
