"""Secrets: certificates with their keys, and the authorities that others' certificates come from.

Envoy: envoy.extensions.transport_sockets.tls.v3.Secret. What is in files on the proxy's host is told by name, and Envoy
watches them; what is in a document goes inside. Whoever may not have keys gets no document's content at all.

Source of the keys' names: Istio's "Secure Gateways" task.
"""

from __future__ import annotations

from collections.abc import Mapping
from posixpath import dirname

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from legation import names
from legation.model import certificates
from legation.model.meta import Key, Object
from legation.model.recall import Reader
from legation.names import SecretName
from legation.render import wire
from legation.snapshot.snapshot import Resource


def secret(reader: Reader, name: str, namespace: str, trusted: bool) -> Resource | None:
    """A secret for proxies of a namespace (a unit); None if there is none, or if they may not have it."""
    parts = names.parse_secret(name)
    if parts is None:
        return None
    if parts.files:
        return wire.as_resource(name, _of_files(name, parts))
    if not trusted:
        return None
    for item, content in sources(reader, parts, namespace):
        made = _authorities(name, content) if parts.authorities else _certificate(name, content)
        if made is not None:
            return wire.as_resource(name, made, origins=(item,))
    return None


def sources(reader: Reader, of: SecretName, namespace: str) -> list[tuple[Key, Mapping[str, bytes]]]:
    """The documents that may hold a secret, in the order in which they are asked. A proxy has those of its own
    namespace only.
    """
    if of.namespace not in ("", namespace):
        return []
    if of.config_map:
        return [(item.key, _text(item)) for item in reader.get("ConfigMap", (namespace, of.name))]
    wanted = (of.name + names.AUTHORITIES, of.name) if of.authorities else (of.name,)
    return [(item.key, item.spec.content) for one in wanted for item in reader.get("Secret", (namespace, one))]


def _text(item: Object) -> dict[str, bytes]:
    return {key: text.encode() for key, text in item.spec.data.items()}


def _certificate(name: str, content: Mapping[str, bytes]) -> secret_pb2.Secret | None:
    pair = certificates.pair(content)
    if pair is None:
        return None
    made = secret_pb2.Secret(name=name)
    made.tls_certificate.certificate_chain.inline_bytes = pair.certificate
    made.tls_certificate.private_key.inline_bytes = pair.key
    if staple := content.get("tls.ocsp-staple"):
        made.tls_certificate.ocsp_staple.inline_bytes = staple
    return made


def _authorities(name: str, content: Mapping[str, bytes]) -> secret_pb2.Secret | None:
    trusted = certificates.authorities(content)
    if not trusted:
        return None
    made = secret_pb2.Secret(name=name)
    made.validation_context.trusted_ca.inline_bytes = trusted
    if revoked := certificates.revoked(content):
        made.validation_context.crl.inline_bytes = revoked
    return made


def _of_files(name: str, of: SecretName) -> secret_pb2.Secret:
    made = secret_pb2.Secret(name=name)
    first, *rest = of.files
    same = len({dirname(path) for path in of.files}) == 1
    if of.authorities:
        made.validation_context.trusted_ca.filename = first
        if same:
            made.validation_context.watched_directory.path = _folder(first)
        for path in rest:
            made.validation_context.crl.filename = path
    else:
        made.tls_certificate.certificate_chain.filename = first
        if same:
            made.tls_certificate.watched_directory.path = _folder(first)
        for path in rest:
            made.tls_certificate.private_key.filename = path
    return made


def _folder(file: str) -> str:
    """Where a file is: its folder is watched, since a link to the file's folder may be what is replaced."""
    return dirname(file) or "."
