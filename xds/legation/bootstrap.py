"""The bootstrap of an Envoy, a pure function from options to YAML: who it is, where its configuration comes from."""

from __future__ import annotations

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


def bootstrap(options: Options) -> str:
    """The YAML text for `envoy -c`.

    Raises ValueError, in words for the user, for a name, an IP address, a port or an address that cannot be one.
    """
    for what, written in (("name", options.name), ("namespace", options.namespace)):
        if not _NAME.fullmatch(written):
            raise ValueError(f"the {what} {written!r} is not a name: letters, digits, '-', '_' and '.' make one")
    for what, written in (("ip", options.ip), ("bind", options.bind)):
        if not _is_ip(written):
            raise ValueError(f"{what} {written!r} is not an IP address")
    for port in (*options.port_map, *options.port_map.values()):
        if not 0 < port < 65536:
            raise ValueError(f"{port} in the port map is not a port: 1 to 65535")
    if len(parts := options.locality.split("/")) > 3 or ("" in parts and options.locality):
        raise ValueError(f"the locality {options.locality!r} is not region, region/zone or region/zone/subzone")
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
        "static_resources": {"clusters": [_xds_cluster(options.xds)]},
        "layered_runtime": {
            "layers": [
                {"name": "legation", "static_layer": {"re2.max_program_size.error_level": MAX_PROGRAM}},
                {"name": "admin", "admin_layer": {}},
            ]
        },
    }
    return _HEAD.format(options=options) + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=1000)


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


def _xds_cluster(xds: str) -> dict[str, Any]:
    address = _address(xds, "xds", lowest_port=1)
    is_name = "socket_address" in address and not _is_ip(address["socket_address"]["address"])
    return {
        "name": XDS_CLUSTER,
        **({"cluster_type": _BY_NAME} if is_name else {"type": "STATIC"}),
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": _KEEPALIVE}},
            }
        },
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


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
