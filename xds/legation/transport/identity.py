"""Who the other end of a connection is: by the connection, its certificate, or the token that came with a call.

A certificate's identity is its SPIFFE ID, of which there must be exactly one URI, else its host names. A token is a JWT:
`sub` is a SPIFFE ID, Kubernetes' `system:serviceaccount:NS:NAME`, or any other name, which needs an entry in the policy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from time import time
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import grpc
import jwt
from cryptography import x509

from legation.model.access import Identity, Peer, is_spiffe, service_account
from legation.model.proxy import Channel
from legation.transport.fresh import Fresh, unfit

Context: TypeAlias = grpc.aio.ServicerContext

LEEWAY: Final = 10.0
"""Seconds by which the clocks of those who make tokens and ours may differ."""

_ACCOUNT: Final = "system:serviceaccount:"
_NAME: Final = re.compile(r"(?!.*://)[!-~]{1,255}")
_PUBLIC: Final = ("EC", "RSA", "OKP")
"""Kinds of keys of which one half may be known to everybody."""


class Unauthenticated(Exception):
    """The client did not show who it is; the words say what is wrong with what it showed."""


def channel(peer: str) -> Channel:
    """What a connection without TLS runs over, by gRPC's name of its other end: `unix:…`, `ipv4:127.0.0.1:4711`,
    `ipv6:[::1]:4711`.
    """
    if peer.startswith("unix:"):
        return Channel.SOCKET
    _, _, address = unquote(peer).partition(":")
    try:
        found = ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return Channel.OPEN
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return Channel.LOOPBACK if (mapped or found).is_loopback else Channel.OPEN


def peer(context: Context, tokens: Tokens | None, trust_domain: str) -> Peer:
    """The other end of a call. Raises Unauthenticated where TLS is spoken and nobody says who is there."""
    shown = context.auth_context()
    address = context.peer()
    # What is not known to be plaintext is taken for TLS.
    if all(kind == b"insecure" for kind in shown.get("transport_security_type", ())):
        return Peer(channel(address), address)
    certificate = next(iter(shown.get("x509_pem_cert", ())), None)
    if certificate is not None:
        identity, expires = certified(certificate)
    elif tokens is not None:
        identity, expires = tokens.read(_bearer(context), trust_domain)
    else:
        raise Unauthenticated("this port needs a certificate")
    if expires <= time():
        raise Unauthenticated("the certificate or token has expired")
    return Peer(Channel.TLS, address, identity, expires)


@lru_cache(4096)
def certified(pem: bytes) -> tuple[Identity, float]:
    """Who a verified certificate names, and until when. Raises Unauthenticated if it names nobody."""
    try:
        found = x509.load_pem_x509_certificate(pem)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise Unauthenticated("the certificate names nobody: it has no subjectAltName") from error
    expires = found.not_valid_after_utc.timestamp()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if uris:
        if len(uris) > 1 or not is_spiffe(uris[0]):
            raise Unauthenticated("the certificate must have one URI, a SPIFFE ID, or none")
        return Identity((uris[0],)), expires
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName) if "*" not in name]
    if not hosts:
        raise Unauthenticated("the certificate names nobody: it has neither a SPIFFE ID nor a host name")
    return Identity(tuple(hosts)), expires


class Tokens:
    """Reads the tokens of one issuer that are meant for an audience; the keys are in a JWKS file that may change.

    Raises Unfit if it cannot begin with that file.
    """

    def __init__(self, jwks: str, issuer: str, audiences: Sequence[str]) -> None:
        self.fresh: Fresh[tuple[jwt.PyJWK, ...]] = Fresh([jwks], lambda content: _keys(jwks, content))
        self._issuer = issuer
        self._audiences = list(audiences)

    def read(self, token: str, trust_domain: str) -> tuple[Identity, float]:
        """Whom a token names, and until when. Raises Unauthenticated."""
        try:
            claims = self._claims(token)
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not taken: {error}") from error
        subject = claims["sub"]
        if subject.startswith(_ACCOUNT):
            namespace, _, name = subject.removeprefix(_ACCOUNT).partition(":")
            subject = service_account(trust_domain, namespace, name)
        elif _NAME.fullmatch(subject):
            return Identity((f"jwt:{subject}",)), float(claims["exp"])
        if not is_spiffe(subject):
            raise Unauthenticated("the token's subject is no SPIFFE ID and no name")
        return Identity((subject,)), float(claims["exp"])

    def _claims(self, token: str) -> dict[str, Any]:
        wanted = jwt.get_unverified_header(token).get("kid")
        keys = [key for key in self.fresh.value if wanted is None or key.key_id in (wanted, None)]
        if not keys:
            raise jwt.InvalidKeyError("it is signed with a key that is not known here")
        for last, key in enumerate(keys, 1 - len(keys)):
            try:
                return jwt.decode(
                    token, key, [key.algorithm_name], leeway=LEEWAY, issuer=self._issuer, audience=self._audiences,
                    options={"require": ["exp", "sub", "iss", "aud"]},
                )  # fmt: skip
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
                if not last:
                    raise
        raise AssertionError


def _keys(file: str, content: bytes) -> tuple[jwt.PyJWK, ...]:
    """The keys for signatures in a JWKS. A key that signs must not be there: whoever reads the file could make tokens."""
    try:
        written = json.loads(content)["keys"]
        found = []
        for one in written:
            if one.get("use", "sig") != "sig":
                continue
            if one.get("kty") not in _PUBLIC or "d" in one:
                raise unfit(file, "holds a key that is not public", "public keys of kind EC, RSA or OKP belong here")
            found.append(jwt.PyJWK(one))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, jwt.PyJWTError) as error:
        raise unfit(file, "is no JWKS: {keys: […]} in JSON", "see RFC 7517") from error
    if not found:
        raise unfit(file, "holds no key for signatures")
    return tuple(found)


def _bearer(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        scheme, _, token = value.partition(" ") if isinstance(value, str) else ("", "", "")
        if key == "authorization" and scheme.lower() == "bearer":
            return token.strip()
    raise Unauthenticated("this port needs a token: authorization: Bearer …")
