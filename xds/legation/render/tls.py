"""TLS as a gateway's server speaks it: its certificates, and what it asks of clients.

Envoy: envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext. Certificates come as secrets of their own, never
inside the listener: there a missing one would refuse the listener, with every other host of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2

from legation import names
from legation.model import ciphers, hosts
from legation.model.gateway import ServerTLSSettings
from legation.model.mesh_config import TLSBaseline
from legation.render import wire
from legation.snapshot.snapshot import Ref

SOCKET = "envoy.transport_sockets.tls"
_VERSIONS = {
    "TLSV1_0": common_pb2.TlsParameters.TLSv1_0,
    "TLSV1_1": common_pb2.TlsParameters.TLSv1_1,
    "TLSV1_2": common_pb2.TlsParameters.TLSv1_2,
    "TLSV1_3": common_pb2.TlsParameters.TLSv1_3,
}
HTTP = ("h2", "http/1.1")
"""What a server of requests offers to speak."""


def secret(name: str) -> secret_pb2.SdsSecretConfig:
    """A reference to a secret. Envoy waits 15 s for one that nobody answers, and goes on without it."""
    made = secret_pb2.SdsSecretConfig(name=name)
    made.sds_config.CopyFrom(wire.SECRETS)
    return made


def downstream(
    of: ServerTLSSettings, offers: tuple[str, ...] = (), least: TLSBaseline | None = None
) -> tuple[base_pb2.TransportSocket, frozenset[Ref]]:
    """The socket of a server that ends TLS, and the secrets that it needs; `least` is what the mesh says of TLS."""
    made = tls_pb2.DownstreamTlsContext()
    common = made.common_tls_context
    common.alpn_protocols.extend(offers)
    asked = list(certificates(of))
    for name in asked:
        common.tls_certificate_sds_secret_configs.append(secret(name))
    if of.mode != "ISTIO_MUTUAL":
        if least is not None:
            limit(common.tls_params, least)
        _parameters(common.tls_params, of)
    made.require_client_certificate.value = of.mode in ("MUTUAL", "ISTIO_MUTUAL")
    if of.mode != "SIMPLE":
        # A context is always there: without the authorities Envoy finishes no handshake, with none at all it would
        # take any client's certificate.
        trusted = authorities(of)
        asked.append(trusted)
        context = common.combined_validation_context
        context.validation_context_sds_secret_config.CopyFrom(secret(trusted))
        _demands(context.default_validation_context, of)
    socket = base_pb2.TransportSocket(name=SOCKET)
    socket.typed_config.CopyFrom(wire.pack(made))
    return socket, frozenset((names.SECRET, name) for name in asked)


def certificates(of: ServerTLSSettings) -> Iterable[str]:
    """The secrets that hold a server's certificates."""
    if of.mode == "ISTIO_MUTUAL":
        return (names.WORKLOAD_CERTIFICATE,)
    if written := of.credential_names or ((of.credential_name,) if of.credential_name else ()):
        return map(names.credential, dict.fromkeys(written))
    files = [(one.server_certificate, one.private_key) for one in of.tls_certificates or ()]
    return [names.certificate_files(*pair) for pair in files or [(of.server_certificate, of.private_key)]]


def authorities(of: ServerTLSSettings) -> str:
    """The secret that holds the authorities which clients' certificates must come from."""
    if of.mode == "ISTIO_MUTUAL":
        return names.MESH_AUTHORITIES
    if of.ca_cert_credential_name:
        return names.credential_authorities(of.ca_cert_credential_name)
    written = of.credential_names or ((of.credential_name,) if of.credential_name else ())
    if written and not of.ca_certificates:
        return names.credential_authorities(written[0])
    own = (one.ca_certificates for one in of.tls_certificates or () if one.ca_certificates)
    return names.authorities_file(of.ca_certificates or next(own, ""), of.ca_crl)


def limit(made: common_pb2.TlsParameters, of: ServerTLSSettings | TLSBaseline) -> None:
    """What is written takes the place of what was there."""
    if of.min_protocol_version in _VERSIONS:
        made.tls_minimum_protocol_version = _VERSIONS[of.min_protocol_version]
    if suites := dict.fromkeys(name for name in of.cipher_suites if name in ciphers.SUITES):
        made.cipher_suites[:] = suites
    if curves := dict.fromkeys(name for name in of.ecdh_curves if name in ciphers.CURVES):
        made.ecdh_curves[:] = curves


def _parameters(made: common_pb2.TlsParameters, of: ServerTLSSettings) -> None:
    made.SetInParent()  # also when empty: another listener would drain the connections of this one
    limit(made, of)
    if of.max_protocol_version in _VERSIONS:
        most = made.tls_maximum_protocol_version = _VERSIONS[of.max_protocol_version]
        # A server that says itself how new its clients may be is not closed by what the mesh says of all.
        made.tls_minimum_protocol_version = min(made.tls_minimum_protocol_version, most)


def _demands(made: common_pb2.CertificateValidationContext, of: ServerTLSSettings) -> None:
    for name in dict.fromkeys(of.subject_alt_names):
        matcher = made.match_typed_subject_alt_names.add(san_type=_kind_of_name(name))
        matcher.matcher.exact = name
    made.verify_certificate_spki.extend(dict.fromkeys(of.verify_certificate_spki))
    made.verify_certificate_hash.extend(dict.fromkeys(of.verify_certificate_hash))
    if of.insecure_skip_verify:
        made.trust_chain_verification = common_pb2.CertificateValidationContext.ACCEPT_UNTRUSTED


def _kind_of_name(name: str) -> common_pb2.SubjectAltNameMatcher.SanType:
    if "://" in name:
        return common_pb2.SubjectAltNameMatcher.URI
    if hosts.is_ip(name):
        return common_pb2.SubjectAltNameMatcher.IP_ADDRESS
    return common_pb2.SubjectAltNameMatcher.EMAIL if "@" in name else common_pb2.SubjectAltNameMatcher.DNS
