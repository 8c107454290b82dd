"""Certificates in Secrets: which key of a Secret holds what, what is wrong with it, and until when it holds.

Source: Kubernetes' `kubernetes.io/tls` and Istio's older spelling (`cert`, `key`, `cacert`). Envoy refuses what is no
certificate, a key that does not fit, RSA below 2048 bits and curves other than P-256, P-384 and P-521 (proven with 1.40).
Nothing that is said here quotes any of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from legation.model.recall import Each, Reader

_PAIRS: Final = (("cert", "key"), ("tls.crt", "tls.key"))
_AUTHORITIES: Final = ("cacert", "ca.crt")
_REVOKED: Final = ("crl", "ca.crl")
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_SHORTEST_RSA: Final = 2048


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate's chain and its key, in PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def pair(content: Mapping[str, bytes]) -> Pair | None:
    """The certificate of a Secret, in either spelling."""
    for certificate, key in _PAIRS:
        if content.get(certificate) and content.get(key):
            return Pair(content[certificate], content[key])
    return None


def authorities(content: Mapping[str, bytes]) -> bytes:
    """The authorities of a Secret; empty if it has none."""
    return next((content[key] for key in _AUTHORITIES if content.get(key)), b"")


def revoked(content: Mapping[str, bytes]) -> bytes:
    """What its authorities revoked; empty if there is no list."""
    return next((content[key] for key in _REVOKED if content.get(key)), b"")


class Fault(NamedTuple):
    """What is wrong with the entry of a Secret, and what to do."""

    key: str
    message: str
    hint: str


def faults(content: Mapping[str, bytes]) -> Iterator[Fault]:
    """Everything for which Envoy would refuse what a Secret holds."""
    for certificate, key in _PAIRS:
        if certificate in content and key in content:
            yield from _pair(content, certificate, key)
    for key in ("tls.crt", "tls.key"):
        if key in content and not {"tls.crt", "tls.key"} <= content.keys():
            other = "tls.key" if key == "tls.crt" else "tls.crt"
            yield Fault(key, f"`{key}` without `{other}`", f"add `{other}`")
    for key in _AUTHORITIES:
        if key in content and isinstance(found := _certificates(content[key]), str):
            yield Fault(key, f"`{key}` {found}", "put in the authorities' certificates in PEM")


def _pair(content: Mapping[str, bytes], certificate: str, key: str) -> Iterator[Fault]:
    chain, private = _certificates(content[certificate]), _private(content[key])
    if isinstance(chain, str):
        yield Fault(certificate, f"`{certificate}` {chain}", "put in the certificate in PEM, then those that signed it")
    if isinstance(private, str):
        yield Fault(key, f"`{key}` {private}", "put in the key in PEM, without a password")
    if isinstance(chain, str) or isinstance(private, str):
        return
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*form) != private.public_bytes(*form):
        last = len(chain) > 1 and chain[-1].public_key().public_bytes(*form) == private.public_bytes(*form)
        hint = "put the server's own certificate first" if last else "make both again, or save both of them"
        yield Fault(key, f"`{key}` is not the key of the certificate in `{certificate}`", hint)


def _certificates(pem: bytes) -> list[x509.Certificate] | str:
    """The certificates of a PEM text, or why there are none."""
    if not pem.strip():
        return "is empty"
    try:
        found = x509.load_pem_x509_certificates(pem)
        for certificate in found:
            certificate.public_key()
    except (ValueError, UnsupportedAlgorithm, TypeError):
        return "is no certificate in PEM"
    return found


_Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def _private(pem: bytes) -> _Public | str:
    """The public half of a private key, or why it is none that can be used."""
    if not pem.strip():
        return "is empty"
    try:
        key = serialization.load_pem_private_key(pem, None)
    except TypeError:
        return "has a password, and nobody to ask for it"
    except (ValueError, UnsupportedAlgorithm):
        return "is no private key in PEM"
    match key:
        case rsa.RSAPrivateKey():
            if key.key_size < _SHORTEST_RSA:
                return f"is an RSA key of {key.key_size} bits; Envoy asks for {_SHORTEST_RSA}"
            return key.public_key()
        case ec.EllipticCurvePrivateKey():
            if key.curve.name not in _CURVES:
                return f"is on the curve {key.curve.name}, which Envoy does not take"
            return key.public_key()
        case ed25519.Ed25519PrivateKey():
            return key.public_key()
        case _:
            return "is of a kind that Envoy does not take; use RSA or ECDSA"


# --- time ---------------------------------------------------------------------------------------------------------


class Expiry(NamedTuple):
    """When the first certificate of an entry of a Secret expires, in seconds since the epoch."""

    key: str
    at: float


def expiries(reader: Reader) -> Each[tuple[Expiry, ...]]:
    """When what is in each Secret expires, by its namespace and name (a unit)."""
    return reader.each(_expiries, (), _secrets)


def _secrets(reader: Reader) -> frozenset[tuple[str, str]]:
    return frozenset(reader.names("Secret"))  # type: ignore[arg-type]


def _expiries(reader: Reader, name: tuple[str, str]) -> tuple[Expiry, ...]:
    found = []
    for item in reader.get("Secret", name):
        for key in (*(certificate for certificate, _ in _PAIRS), *_AUTHORITIES):
            chain = _certificates(item.spec.content[key]) if key in item.spec.content else ""
            if not isinstance(chain, str):
                found.append(Expiry(key, min(one.not_valid_after_utc.timestamp() for one in chain)))
    return tuple(found)
