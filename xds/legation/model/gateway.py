"""Gateway: the ports that a gateway proxy opens, and the hosts it answers for.

Source: https://istio.io/latest/docs/reference/config/networking/gateway/
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from legation.model import ciphers
from legation.model.base import (
    NOT_SUPPORTED,
    Deprecated,
    Excludes,
    Finding,
    Idle,
    Model,
    NotYet,
    OneOf,
    Raw,
    Rule,
    given,
    inner,
    items,
    number,
    texts,
)
from legation.model.values import (
    Bind,
    Bool,
    Filled,
    Labels,
    PortNumber,
    PortOrZero,
    Str,
    fault_of_host,
    is_ip,
    is_label,
    shown,
    wrong,
)
from legation.model.workload_entry import MAX_SOCKET
from legation.names import NO_PATH
from legation.problems import Severity

HTTP_PROTOCOLS: Final = frozenset({"HTTP", "HTTP2", "GRPC", "GRPC-WEB"})
"""Protocols whose requests are routed, in clear text."""
TLS_PROTOCOLS: Final = frozenset({"HTTPS", "TLS"})
PROTOCOLS: Final = ("HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP", "MONGO", "REDIS", "MYSQL")


def protocol(text: str) -> str:
    """A protocol as it is written in Gateways, Sidecars and ServiceEntries; its case does not matter."""
    known = (*PROTOCOLS, "HTTP_PROXY", "UDP")
    if text.upper() not in known:
        raise wrong(f'"{shown(text)}" is no protocol', f"known: {', '.join(PROTOCOLS)}")
    return text


Protocol = Annotated[Str, AfterValidator(protocol)]


def _no_target_port(raw: Raw) -> Iterator[Finding]:
    if given(raw, "targetPort"):
        said = "`targetPort` has no meaning here"
        yield Finding(("targetPort",), said, "remove it; the port of a Service says where it leads", at_key=True)


class Port(Model):
    """A port that is opened."""

    rules = (_no_target_port,)
    example = "{number: 8080, name: http, protocol: HTTP}"

    number: PortOrZero
    """The port, 1 to 65535; 0 only for a Unix socket."""
    protocol: Protocol
    """What is spoken there: HTTP, HTTPS, HTTP2, GRPC, TLS, TCP and so on."""
    name: Filled
    """Its name, unique in the Gateway."""
    target_port: Annotated[PortNumber | None, Idle("never had an effect; an error"), Deprecated("number")] = None
    """Never had an effect."""


def _server_host(text: str) -> str:
    namespace, slash, host = text.rpartition("/")
    if slash and namespace not in ("*", ".") and not is_label(namespace):
        raise wrong(f'"{shown(namespace)}" is no namespace', "write namespace/host, ./host or */host")
    if host == "*" or is_ip(host):
        return text
    if fault := fault_of_host(host):
        raise wrong(f'"{shown(text)}" {fault}', "write a full name such as shop.example.com, *.example.com or *")
    if "*" in host and not host.startswith("*."):
        raise wrong(f'"{shown(text)}": a wildcard stands for whole parts of a name', f"write *.{host.lstrip('*-')}")
    if "." not in host:
        raise wrong(f'"{shown(text)}" is a short name, and clients outside know none', "write the full name, or *")
    return text


ServerHost = Annotated[Str, AfterValidator(_server_host)]
"""A full name, `*.` and a name, `*`, or an IP address; perhaps after the namespace of the VirtualServices meant."""

TLSProtocol = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


def _path(text: str) -> str:
    if NO_PATH in text:
        raise wrong(f"a path of a certificate has no {NO_PATH}", "move the file")
    return text


ProxyPath = Annotated[Str, AfterValidator(_path)]
"""The path of a file on the proxy's host."""


def _key_hash(text: str) -> str:
    try:
        if len(b64decode(text, validate=True)) == 32:
            return text
    except ValueError:
        pass
    raise wrong("this is no SHA-256 hash in base64", "44 characters, as `openssl dgst -sha256 -binary | base64` prints")


def _certificate_hash(text: str) -> str:
    if re.fullmatch(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){31}", text) is None:
        raise wrong("this is no SHA-256 hash in hex", "64 digits, or 32 pairs with colons between them")
    return text


KeyHash = Annotated[Str, AfterValidator(_key_hash)]
CertificateHash = Annotated[Str, AfterValidator(_certificate_hash)]


class TLSCertificate(Model):
    """One certificate of several."""

    server_certificate: ProxyPath = ""
    """The path of the certificate's chain, on the proxy's host."""
    private_key: ProxyPath = ""
    """The path of its key."""
    ca_certificates: ProxyPath = ""
    """The path of the authorities that clients' certificates come from."""


_FILES: Final = ("serverCertificate", "privateKey", "caCertificates", "caCrl")
_SECRETS: Final = ("credentialName", "credentialNames")
_CERTIFICATES: Final = (*_SECRETS, "tlsCertificates", *_FILES)


def _tls(raw: Raw) -> Iterator[Finding]:
    mode = raw.get("mode", "PASSTHROUGH")
    written = [field for field in _CERTIFICATES if given(raw, field) and raw[field] != ""]
    secret = [field for field in (*_SECRETS, "tlsCertificates") if field in written]
    if mode in ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"):
        if not secret:
            for field in ("serverCertificate", "privateKey"):
                if field not in written:
                    said = f"mode {mode} needs a certificate: `{field}` is missing"
                    yield Finding(
                        (), said, "add `credentialName`, or `serverCertificate` and `privateKey`", at_key=True
                    )
            if mode != "SIMPLE" and "caCertificates" not in written and not given(raw, "caCertCredentialName"):
                said = f"mode {mode} needs the authorities that clients' certificates come from"
                yield Finding((), said, "add `caCertificates`", at_key=True)
        if "caCrl" in written and (mode == "SIMPLE" or secret):
            said = "`caCrl` is only for client certificates whose authorities are in a file"
            yield Finding(("caCrl",), said, "remove it", at_key=True)
    elif mode == "ISTIO_MUTUAL":
        for field in written:
            yield Finding((field,), f"`{field}` has no place in mode ISTIO_MUTUAL", "remove it", at_key=True)
    elif isinstance(mode, str):
        for field in written:
            said = f"`{field}` has no effect in mode {shown(mode)}"
            yield Finding((field,), said, "set `mode: SIMPLE` or `MUTUAL`, or remove it", True, Severity.WARNING)
    if mode in ("SIMPLE", "ISTIO_MUTUAL"):
        for field in _OF_CLIENTS if mode == "SIMPLE" else _RESTRICTIONS:
            if given(raw, field):
                said = f"`{field}` has no effect in mode {mode}"
                yield Finding((field,), said, "set `mode: MUTUAL`, or remove it", True, Severity.WARNING)
    yield from limits(raw)


def limits(raw: Raw) -> Iterator[Finding]:
    """What must hold of the versions, suites and curves that TLS is limited to."""
    for field, words, what in (("cipherSuites", ciphers.SUITES, "suite"), ("ecdhCurves", ciphers.CURVES, "curve")):
        yield from _restricted(raw, field, words, what)
    if raw.get("minProtocolVersion") in ("TLSV1_0", "TLSV1_1") and not given(raw, "cipherSuites"):
        said = "TLS before 1.2 needs old cipher suites, and none is named"
        yield Finding(
            ("minProtocolVersion",), said, "name `cipherSuites`, or ask for TLSV1_2", severity=Severity.WARNING
        )


_OF_CLIENTS: Final = ("subjectAltNames", "verifyCertificateSpki", "verifyCertificateHash", "insecureSkipVerify")
_RESTRICTIONS: Final = (*_OF_CLIENTS, "minProtocolVersion", "maxProtocolVersion", "cipherSuites", "ecdhCurves")


def _restricted(raw: Raw, field: str, words: frozenset[str], what: str) -> Iterator[Finding]:
    """Words that are not known are left out; if none is known, nothing would be left to restrict anything."""
    written = texts(raw, field)
    wrong_ones = [(index, word) for index, word in written if word not in words]
    severity = Severity.ERROR if wrong_ones and len(wrong_ones) == len(written) else Severity.WARNING
    for index, word in wrong_ones:
        hint = f"known: {', '.join(sorted(words))}"
        yield Finding((field, index), f'"{shown(word)}" is no {what} that Envoy knows', hint, severity=severity)
    for place, (index, word) in enumerate(written):
        if any(word == before for _, before in written[:place]):
            yield Finding((field, index), f'"{shown(word)}" is here twice', "remove one", severity=Severity.WARNING)


def _versions(raw: Raw) -> Iterator[Finding]:
    order = ("TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3")
    least, most = raw.get("minProtocolVersion"), raw.get("maxProtocolVersion")
    if least in order and most in order and order.index(least) > order.index(most):
        said = f"no version is at least {least} and at most {most}"
        yield Finding(("maxProtocolVersion",), said, "turn them around")


TLS_RULES: Final = (_tls, _versions)
"""What must hold of a server's TLS, wherever its certificates come from."""


class ServerTLSSettings(Model):
    """How a server proves who it is, and whether clients must."""

    rules: ClassVar[tuple[Rule, ...]] = (
        OneOf(("credentialName", "credentialNames", "tlsCertificates")),
        Excludes("credentialName", ("serverCertificate", "privateKey")),
        Excludes("credentialNames", ("serverCertificate", "privateKey")),
        *TLS_RULES,
    )
    example = "{mode: SIMPLE, credentialName: my-certificate}"

    https_redirect: Bool = False
    """Whether requests in clear text are sent to https."""
    mode: Literal["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"] = (
        "PASSTHROUGH"
    )
    """Who proves what: SIMPLE the server, MUTUAL both; PASSTHROUGH leaves it to the destination."""
    server_certificate: ProxyPath = ""
    """The path of the certificate's chain, on the proxy's host."""
    private_key: ProxyPath = ""
    """The path of its key."""
    ca_certificates: ProxyPath = ""
    """The path of the authorities that clients' certificates come from."""
    ca_crl: ProxyPath = ""
    """The path of a list of revoked client certificates."""
    credential_name: Str = ""
    """The Secret with certificate and key, in the gateway's namespace."""
    credential_names: Annotated[tuple[Filled, ...] | None, Field(min_length=1, max_length=2)] = None
    """Two Secrets, of an RSA and an ECDSA certificate."""
    ca_cert_credential_name: Str = ""
    """The Secret with the authorities, if it is another."""
    tls_certificates: Annotated[tuple[TLSCertificate, ...] | None, Field(min_length=1, max_length=2)] = None
    """Two certificates, RSA and ECDSA, by their paths."""
    subject_alt_names: tuple[Filled, ...] = ()
    """Names, one of which a client's certificate must have."""
    verify_certificate_spki: tuple[KeyHash, ...] = ()
    """Hashes of clients' public keys that are accepted, in base64."""
    verify_certificate_hash: tuple[CertificateHash, ...] = ()
    """Hashes of clients' certificates that are accepted, in hex."""
    min_protocol_version: TLSProtocol = "TLS_AUTO"
    """The oldest version of TLS."""
    max_protocol_version: TLSProtocol = "TLS_AUTO"
    """The newest version of TLS."""
    cipher_suites: tuple[Str, ...] = ()
    """Cipher suites for TLS before 1.3."""
    ecdh_curves: tuple[Str, ...] = ()
    """Groups for the exchange of keys, such as X25519."""
    insecure_skip_verify: Bool | None = None
    """Whether clients' certificates are accepted from any authority."""


def _listens(raw: Raw) -> Iterator[Finding]:
    """Port and address belong together; the address of a Unix socket is a port of its own."""
    bind = raw.get("bind")
    socket = isinstance(bind, str) and bind.startswith("unix:")
    port = number(inner(raw, "port"), "number")
    if port == 0 and not socket:
        yield Finding(("port", "number"), "port 0 is only for Unix sockets", "write the port, 1 to 65535")
    elif socket and port:
        yield Finding(("port", "number"), "a Unix socket has no port", "write `number: 0`")
    if socket and len(str(bind).removeprefix("unix://").encode()) > MAX_SOCKET:
        said = f"the path of a Unix socket has at most {MAX_SOCKET} bytes"
        yield Finding(("bind",), said, "move the socket up")


def _secured(raw: Raw) -> Iterator[Finding]:
    spoken = inner(raw, "port").get("protocol")
    if isinstance(spoken, str) and spoken.upper() in ("UDP", "HTTP_PROXY"):
        said = f"gateways do not speak {spoken.upper()}: what comes is taken for TCP"
        where = ("port", "protocol")
        yield Finding(where, said, "remove the server", severity=Severity.WARNING, code=NOT_SUPPORTED)
    if not isinstance(spoken, str) or spoken.upper() not in PROTOCOLS:
        return
    spoken, tls = spoken.upper(), raw.get("tls")
    if spoken in TLS_PROTOCOLS:
        if not isinstance(tls, dict):
            said = f"a server of protocol {spoken} needs `tls`"
            yield Finding((), said, "add `tls` with a `mode` and a certificate", at_key=True)
        elif tls.get("httpsRedirect") is True:
            said = f"`httpsRedirect` has no effect on protocol {spoken}"
            yield Finding(("tls", "httpsRedirect"), said, "put it on the server of port 80", True, Severity.WARNING)
    elif isinstance(tls, dict):
        if spoken not in HTTP_PROTOCOLS:
            said = f"`tls` has no place on protocol {spoken}"
            yield Finding(("tls",), said, "write `protocol: TLS` for TLS around TCP", at_key=True)
        elif tls.get("mode", "PASSTHROUGH") != "PASSTHROUGH" or any(given(tls, field) for field in _CERTIFICATES):
            said = f"a certificate has no place on protocol {spoken}: clients speak clear text"
            yield Finding(("tls",), said, "write `protocol: HTTPS`, or only `httpsRedirect: true`", at_key=True)


class Server(Model):
    """A port, and the hosts that are answered for there."""

    rules = (_listens, _secured)
    example = '{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}'

    port: Port
    """What is opened."""
    bind: Bind | None = None
    """The address that is listened on; all addresses if left out."""
    hosts: tuple[ServerHost, ...] = Field(min_length=1)
    """The names that it answers for; perhaps after the namespace of the VirtualServices that may claim them."""
    tls: ServerTLSSettings | None = None
    """How the server proves who it is."""
    default_endpoint: Annotated[Str, NotYet()] = ""
    """Where traffic goes by default."""
    name: Str = ""
    """Its name, for statistics."""


def _port_names(raw: Raw) -> Iterator[Finding]:
    seen: dict[Any, int] = {}
    for index, server in items(raw, "servers"):
        name = inner(server, "port").get("name")
        if isinstance(name, str) and name:
            if name in seen:
                said = f'the port\'s name "{shown(name)}" is here twice, first in servers[{seen[name]}]'
                yield Finding(("servers", index, "port", "name"), said, "give each port of a Gateway its own name")
            seen.setdefault(name, index)


def _plain_hosts(raw: Raw) -> Iterator[Finding]:
    for index, server in items(raw, "servers"):
        seen: set[str] = set()
        for place, host in texts(server, "hosts"):
            if host in seen:
                said = f'"{shown(host)}" is here twice'
                yield Finding(("servers", index, "hosts", place), said, "remove one", severity=Severity.WARNING)
            seen.add(host)


class Gateway(Model):
    """The ports that gateway proxies open, and the hosts they answer for."""

    rules = (_port_names, _plain_hosts)

    servers: tuple[Server, ...] = Field(min_length=1)
    """Ports, each with its hosts."""
    selector: Labels | None = None
    """Labels of the gateway proxies that it is for; all if left out."""
