"""The door of the server: who is there (authentication), and what they may be and do (authorisation).

Plaintext has no identities. On a Unix socket and on loopback whoever asks is of this machine, and is who it says it is;
over TLS what it says counts as far as its identity goes.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic, time
from typing import Any, Final

import grpc

from legation.ingest import access
from legation.ingest.files import decoded
from legation.model.access import AccessPolicy, Peer, is_administrator, refusal
from legation.model.proxy import Channel, Proxy
from legation.problems import Problem
from legation.transport import identity
from legation.transport.fresh import Fresh, Unfit
from legation.transport.identity import Context, Tokens, Unauthenticated

log = logging.getLogger("legation")

SAID_AGAIN: Final = 60.0
"""Seconds after which the same refusal is logged again: who is refused knocks every two seconds."""
SAID_AT_MOST: Final = 200
"""Different refusals in that time: who is refused chooses some of the words."""


class Access:
    """The door. `refused` is called with every refusal's kind: `unauthenticated`, `denied` or `expired`.

    `files` are further ones to look after; `trust_domain` is asked for the mesh's. Without a policy an identity is a sidecar
    in its own namespace, and nobody over TLS is an administrator.
    """

    def __init__(
        self,
        policy: Fresh[AccessPolicy] | None = None,
        tokens: Tokens | None = None,
        *,
        files: Iterable[Fresh[Any]] = (),
        trust_domain: Callable[[], str] = lambda: "cluster.local",
        refused: Callable[[str], None] = lambda kind: None,
    ) -> None:
        self._policy = policy
        self._tokens = tokens
        self._trust_domain = trust_domain
        self._refused = refused
        self._files = [*files, *([policy] if policy else []), *([tokens.fresh] if tokens else [])]
        self._checked = (self.policy, trust_domain())
        self._said: dict[tuple[str, str], float] = {}

    @property
    def policy(self) -> AccessPolicy:
        """What is in force."""
        return self._policy.value if self._policy is not None else AccessPolicy()

    def peer(self, context: Context) -> Peer:
        """Who makes a call. Raises Unauthenticated where TLS is spoken and nobody says who is there."""
        try:
            return identity.peer(context, self._tokens, self._trust_domain())
        except Unauthenticated as error:
            self._tell("unauthenticated", context.peer(), str(error))
            raise

    def admit(self, peer: Peer, proxy: Proxy) -> None:
        """Lets a peer be a proxy. Raises PermissionError, in words that say what to write if it should be."""
        if why := self._why_not(peer, proxy):
            self._tell("denied", peer.address, why)
            raise PermissionError(why)

    def still(self, peer: Peer, proxy: Proxy) -> tuple[str, str] | None:
        """Why a stream that was let in must end now, as a gRPC status and words; None if it may stay."""
        if peer.expires <= time():
            self._tell("expired", peer.address, f"what showed that it is {peer.identity} has expired")
            return "UNAUTHENTICATED", "the identity has expired; connect with a newer certificate or token"
        if why := self._why_not(peer, proxy):
            self._tell("denied", peer.address, why)
            return "PERMISSION_DENIED", why
        return None

    def administrator(self, context: Context) -> Peer:
        """Who makes a call, who may administer the server: whoever is on a Unix socket or on loopback without TLS; over
        TLS the identities that the policy file lists, so no proxy's by itself. Raises PermissionError or Unauthenticated.
        """
        peer = self.peer(context)
        if peer.channel in (Channel.SOCKET, Channel.LOOPBACK):
            return peer
        if peer.identity is None:
            why = "the admin API is never served in plaintext beyond this machine"
        elif is_administrator(self.policy, self._trust_domain(), peer.identity):
            return peer
        else:
            why = f"{peer.identity} is no administrator; the policy file lists them under `administrators`"
        self._tell("denied", peer.address, why)
        raise PermissionError(why)

    def look(self) -> None:
        """Looks at the files again. The only method that may be called from another thread."""
        for fresh in self._files:
            fresh.look()

    def is_new(self) -> bool:
        """Whether what was let in must be asked `still` again, since something has changed since the last time."""
        before, self._checked = self._checked, (self.policy, self._trust_domain())
        return before != self._checked

    @property
    def problems(self) -> list[Problem]:
        """What keeps the newest files out of force."""
        return [problem for fresh in self._files for problem in fresh.problems]

    def _why_not(self, peer: Peer, proxy: Proxy) -> str:
        if peer.channel is not Channel.TLS:
            return ""
        assert peer.identity is not None
        return refusal(self.policy, self._trust_domain(), peer.identity, proxy)

    def _tell(self, kind: str, address: str, why: str) -> None:
        self._refused(kind)
        now, what = monotonic(), (address.rpartition(":")[0], why)
        self._said = {each: at for each, at in self._said.items() if now - at < SAID_AGAIN}
        if what not in self._said and len(self._said) < SAID_AT_MOST:
            self._said[what] = now
            log.warning("refused %s: %s", address, why)


def policy_file(path: str) -> Fresh[AccessPolicy]:
    """The policy in a file. Raises Unfit for one that cannot be read or is not right."""

    def read(content: bytes) -> AccessPolicy:
        raw = decoded(path, content)
        if raw.text is None:
            raise Unfit(*filter(None, [raw.problem]))
        found, problems = access.policy(path, raw.text)
        if found is None:
            raise Unfit(*problems)
        return found

    return Fresh([path], read)


class Doorman(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Stands before every service: over TLS nothing is answered to who does not show who it is."""

    def __init__(self, door: Access) -> None:
        self._door = door

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
        return handler._replace(**{kind: self._guarded(getattr(handler, kind))})

    def _guarded(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isasyncgenfunction(behaviour):

            async def generate(request: Any, context: Context) -> Any:
                await self._ask(context)
                async for answer in behaviour(request, context):
                    yield answer

            return generate

        async def answer(request: Any, context: Context) -> Any:
            await self._ask(context)
            return await behaviour(request, context)

        return answer

    async def _ask(self, context: Context) -> None:
        try:
            self._door.peer(context)
        except Unauthenticated as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
