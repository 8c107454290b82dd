"""Secrets: certificates, keys and authorities, under the names by which clusters and listeners ask for them.

Envoy: envoy.extensions.transport_sockets.tls.v3.Secret. What is in files on the proxy's host stays there: the secret
says where, and Envoy reads it again when it is replaced.
"""

from __future__ import annotations

from posixpath import dirname

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from legation import names
from legation.model.recall import Reader
from legation.render import wire
from legation.snapshot.snapshot import Resource


def secret(_reader: Reader, name: str) -> Resource | None:
    """The secret of a name (a unit); None if there is none."""
    if (files := names.parse_certificate_files(name)) is not None:
        made = secret_pb2.Secret(name=name)
        made.tls_certificate.certificate_chain.filename, made.tls_certificate.private_key.filename = files
        if dirname(files[0]) == dirname(files[1]):
            made.tls_certificate.watched_directory.path = _folder(files[0])
        return wire.as_resource(name, made)
    if (file := names.parse_authorities_file(name)) is not None:
        made = secret_pb2.Secret(name=name)
        made.validation_context.trusted_ca.filename = file
        made.validation_context.watched_directory.path = _folder(file)
        return wire.as_resource(name, made)
    return None


def _folder(file: str) -> str:
    """Where a file is: its folder is watched, since a link to the file's folder may be what is replaced."""
    return dirname(file) or "."
