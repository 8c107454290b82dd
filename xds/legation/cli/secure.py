"""The options of the channel's TLS, for `serve`: files, ports, and whose tokens are taken."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from legation.cli.flags import option
from legation.cli.options import existing_file, xds_addresses
from legation.transport.secure import Secure

F = TypeVar("F", bound=Callable[..., Any])

_FILES = {
    "--tls-cert": "The server's certificate in PEM, for proxies beyond this machine.",
    "--tls-key": "Its key.",
    "--client-ca": "The authorities whose certificates proxies show.",
    "--policy": "Which identity may be which proxy, and who may administer; see docs/guide/securing-the-channel.md.",
    "--jwks": "The public keys with which tokens are signed.",
}


def secured() -> Callable[[F], F]:
    """All of them, as one argument `secure`, which is None if none is given."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            mine = {name: options.pop(name) for name in NAMES}
            return function(*arguments, secure=chosen(**mine), **options)

        made: Any = call
        made = option("--jwt-audience", multiple=True, default=("legation",), help="For whom tokens must be.")(made)
        made = option("--jwt-issuer", default="", help="Who must have made tokens.", show_default=False)(made)
        made = option(
            "--jwt-listen", multiple=True, callback=xds_addresses, metavar="HOST:PORT",
            help="Where proxies connect over TLS with a token instead of a certificate.",
        )(made)  # fmt: skip
        made = option(
            "--tls-listen", multiple=True, callback=xds_addresses, default=("0.0.0.0:15012",), metavar="HOST:PORT",
            help="Where proxies connect over TLS with a certificate (with --client-ca).",
        )(made)  # fmt: skip
        for name, text in reversed(_FILES.items()):
            made = option(name, default="", callback=_file, metavar="FILE", help=text, show_default=False)(made)
        return made  # type: ignore[no-any-return]

    return decorate


NAMES = (
    "tls_cert", "tls_key", "client_ca", "policy", "jwks", "tls_listen", "jwt_listen", "jwt_issuer", "jwt_audience",
)  # fmt: skip


def _file(context: click.Context, parameter: click.Parameter, written: str) -> str:
    return existing_file(context, parameter, written or None) or ""


def chosen(
    tls_cert: str, tls_key: str, client_ca: str, policy: str, jwks: str, tls_listen: tuple[str, ...],
    jwt_listen: tuple[str, ...], jwt_issuer: str, jwt_audience: tuple[str, ...],
) -> Secure | None:  # fmt: skip
    """What these options (NAMES) mean together. Raises click.UsageError where one is missing that another needs."""
    if not any((tls_cert, tls_key, client_ca, policy, jwks, jwt_listen, jwt_issuer)):
        return None
    if not (tls_cert and tls_key):
        raise click.UsageError("TLS needs both --tls-cert and --tls-key")
    if not ((client_ca and tls_listen) or jwt_listen):
        raise click.UsageError("whose certificates do proxies show? say --client-ca (or --jwt-listen for tokens)")
    if jwt_listen and not (jwks and jwt_issuer):
        raise click.UsageError("--jwt-listen needs --jwks and --jwt-issuer")
    if (jwks or jwt_issuer) and not jwt_listen:
        raise click.UsageError("tokens are taken on a port of their own: --jwt-listen")
    return Secure(
        tls_cert,
        tls_key,
        tls_listen if client_ca else (),
        client_ca,
        jwt_listen,
        jwks,
        jwt_issuer,
        jwt_audience,
        policy,
    )
