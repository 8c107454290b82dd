"""The words in which TLS is restricted: what Envoy's TLS library (BoringSSL) knows. An unknown one would refuse the whole
listener, so it is left out and told. Proven one by one with Envoy 1.40.
"""

from __future__ import annotations

from typing import Final

SUITES: Final = frozenset(
    {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-RSA-AES128-SHA256",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-SHA",
        "AES256-SHA",
        "DES-CBC3-SHA",
    }
)
"""Cipher suites of TLS before 1.3; those of 1.3 cannot be chosen."""

CURVES: Final = frozenset({"X25519", "P-256", "P-384", "P-521", "X25519MLKEM768", "MLKEM1024"})
"""Groups for the exchange of keys."""
