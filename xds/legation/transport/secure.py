"""The ports of the server beyond this machine: which files make them, and what opens them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc

from legation.transport.access import Access, policy_file
from legation.transport.credentials import Material, ServerTLS
from legation.transport.fresh import Fresh
from legation.transport.identity import Tokens


@dataclass(frozen=True, slots=True)
class Secure:
    """What makes the channel secure, by the paths of files. Clients on `listen` show certificates of `client_ca`, those on
    `jwt_listen` tokens of `issuer` for one of `audiences`, signed with a key in `jwks`: gRPC asks all clients of a port
    for certificates, or none.
    """

    certificate: str
    key: str
    listen: tuple[str, ...] = ()
    client_ca: str = ""
    jwt_listen: tuple[str, ...] = ()
    jwks: str = ""
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """What the server needs for it: the door, the ports, and the server's own certificate, which is in the file named so."""

    access: Access
    ports: tuple[tuple[str, grpc.ServerCredentials], ...] = ()
    certificate: tuple[str, Fresh[Material]] | None = None

    @property
    def expires(self) -> tuple[str, float] | None:
        """The file of the server's own certificate, and until when it holds (epoch)."""
        return (self.certificate[0], self.certificate[1].value.until) if self.certificate is not None else None


def opened(secure: Secure | None, trust_domain: Callable[[], str], refused: Callable[[str], None]) -> Opened:
    """Reads the files. Raises Unfit for those that cannot be a beginning."""
    if secure is None:
        return Opened(Access(trust_domain=trust_domain, refused=refused))
    with_certificates = ServerTLS(secure.certificate, secure.key, secure.client_ca) if secure.listen else None
    with_tokens = ServerTLS(secure.certificate, secure.key) if secure.jwt_listen else None
    policy = policy_file(secure.policy) if secure.policy else None
    tokens = Tokens(secure.jwks, secure.issuer, secure.audiences) if secure.jwt_listen else None
    both = [each for each in (with_certificates, with_tokens) if each is not None]
    access = Access(policy, tokens, files=[tls.fresh for tls in both], trust_domain=trust_domain, refused=refused)

    def ports() -> Iterator[tuple[str, grpc.ServerCredentials]]:
        for tls, addresses in ((with_certificates, secure.listen), (with_tokens, secure.jwt_listen)):
            for address in addresses:
                if tls is not None:
                    yield address, tls.credentials()

    return Opened(access, tuple(ports()), (secure.certificate, both[0].fresh) if both else None)
