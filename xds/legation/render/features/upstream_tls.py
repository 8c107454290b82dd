"""DestinationRule `tls`: how connections to a service are encrypted, and what its certificate must prove.

Envoy: UpstreamTlsContext. Certificates are never in the cluster: they are secrets that it asks for by name, also those
that are files on the proxy's host, so that a missing file costs this cluster and nothing else.
"""

from __future__ import annotations

from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2

from legation import names
from legation.model import hosts
from legation.model.connections import ClientTLSSettings
from legation.render import tls, wire
from legation.render.draft import ClusterDraft

_NAME = "envoy.transport_sockets.tls"
_ADS = config_source_pb2.ConfigSource(
    ads=config_source_pb2.AggregatedConfigSource(), resource_api_version=config_source_pb2.ApiVersion.V3
)
"""Without a time limit of its own, unlike endpoints: a secret that nobody has must not hold up the cluster for ever."""

_ALPN_OF_THE_MESH = "istio"
"""By this a server of the mesh knows a client of the mesh."""


def apply(draft: ClusterDraft) -> None:
    """Nothing for DISABLE, which is also what an empty block means; nor where what comes is encrypted already."""
    written = draft.policy.tls
    if written is None or written.mode == "DISABLE" or names.is_sni_cluster(draft.made.name):
        return
    made = tls_pb2.UpstreamTlsContext()
    common = made.common_tls_context
    common.tls_params.tls_minimum_protocol_version = common_pb2.TlsParameters.TLSv1_2
    common.tls_params.tls_maximum_protocol_version = common_pb2.TlsParameters.TLSv1_3
    if written.mode == "ISTIO_MUTUAL":
        _of_the_mesh(draft, made, written)
    else:
        _as_written(draft, made, written)
    if draft.speaks_http2:
        common.alpn_protocols.append("h2")
    draft.made.transport_socket.name = _NAME
    draft.made.transport_socket.typed_config.CopyFrom(wire.pack(made))


def _of_the_mesh(draft: ClusterDraft, made: tls_pb2.UpstreamTlsContext, written: ClientTLSSettings) -> None:
    """With the workload's own certificate; of the settings only the names count."""
    parts = draft.parts
    made.sni = written.sni or f"outbound_.{parts.port}_.{parts.subset}_.{parts.host}"
    made.common_tls_context.alpn_protocols.append(_ALPN_OF_THE_MESH)
    _certificate(draft, made, names.WORKLOAD_CERTIFICATE)
    _verify(draft, made, names.MESH_AUTHORITIES, written.subject_alt_names or draft.subject_alt_names)


def _as_written(draft: ClusterDraft, made: tls_pb2.UpstreamTlsContext, written: ClientTLSSettings) -> None:
    """Without a name to ask for, and to verify, it is the host that a request is for."""
    if draft.tls_defaults is not None:
        parameters = made.common_tls_context.tls_params
        usual = parameters.tls_minimum_protocol_version
        tls.limit(parameters, draft.tls_defaults)
        parameters.tls_minimum_protocol_version = max(usual, parameters.tls_minimum_protocol_version)
    made.sni = written.sni
    if not written.sni:
        options = draft.http.upstream_http_protocol_options
        options.auto_sni = True
        options.auto_san_validation = not written.subject_alt_names and not written.insecure_skip_verify
    if written.mode == "MUTUAL":
        if written.credential_name:
            _certificate(draft, made, names.credential(written.credential_name))
        else:
            _certificate(draft, made, names.certificate_files(written.client_certificate, written.private_key))
    if written.insecure_skip_verify:
        return
    if written.credential_name:
        authorities = names.credential_authorities(written.credential_name)
    else:
        authorities = names.authorities_file(written.ca_certificates or draft.ca_bundle, written.ca_crl)
    _verify(draft, made, authorities, written.subject_alt_names or draft.subject_alt_names)


def _certificate(draft: ClusterDraft, made: tls_pb2.UpstreamTlsContext, secret: str) -> None:
    asked = made.common_tls_context.tls_certificate_sds_secret_configs.add(name=secret)
    asked.sds_config.CopyFrom(_ADS)
    draft.refs.add((names.SECRET, secret))


def _verify(draft: ClusterDraft, made: tls_pb2.UpstreamTlsContext, secret: str, subjects: tuple[str, ...]) -> None:
    """The authorities come with a secret, the names are ours."""
    combined = made.common_tls_context.combined_validation_context
    combined.default_validation_context.SetInParent()
    for name in subjects:
        matcher = combined.default_validation_context.match_typed_subject_alt_names.add()
        matcher.san_type = _san_type(name)
        matcher.matcher.exact = name
    combined.validation_context_sds_secret_config.name = secret
    combined.validation_context_sds_secret_config.sds_config.CopyFrom(_ADS)
    draft.refs.add((names.SECRET, secret))


def _san_type(name: str) -> common_pb2.SubjectAltNameMatcher.SanType:
    if "://" in name:
        return common_pb2.SubjectAltNameMatcher.URI
    return common_pb2.SubjectAltNameMatcher.IP_ADDRESS if hosts.is_ip(name) else common_pb2.SubjectAltNameMatcher.DNS
