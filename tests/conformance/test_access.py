"""Authentication and authorisation on a real server (Z-01 … Z-08)."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from e2e.authority import Authority, Signed
from e2e.mesh import eventually
from envoy.service.discovery.v3 import discovery_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from legation.console.metrics import Metrics
from legation.fleet import Fleet
from legation.local.authority import Purpose, initialise, issue, read
from legation.model.access import Identity, Peer
from legation.model.proxy import Channel, Proxy, Role
from legation.model.world import Mesh, World
from legation.names import CLUSTER, LISTENER, SECRET
from legation.snapshot.snapshot import Change, Snapshot, snapshot
from legation.status import ProxyStatus
from legation.transport.access import Access, policy_file
from legation.transport.credentials import ServerTLS
from legation.transport.fresh import Unfit
from legation.transport.identity import Tokens, Unauthenticated
from legation.transport.server import Server
from prometheus_client import CollectorRegistry
from transport.wire import DELTA, STREAM, Desk, Wire, named, packed, serving

WEB = "spiffe://cluster.local/ns/shop/sa/web"
both = pytest.mark.parametrize("method", [STREAM, DELTA])


def node(role: str = "sidecar", namespace: str = "shop", name: str = "web-1") -> str:
    return f"{role}~10.0.0.1~{name}.{namespace}~{namespace}.svc.cluster.local"


class Door:
    """A server's files, and a server that has only a TLS port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        self.authority.sign("localhost", "127.0.0.1").in_files(folder)
        (folder / "ca.crt").write_text(self.authority.certificate)
        self.policy = folder / "policy.yaml"
        self.policy.write_text("# nothing\n")
        self.desk = Desk(packed(CLUSTER, "a"))
        self.refused: list[str] = []

    def tls(self, client_ca: bool = True) -> ServerTLS:
        folder = self.folder
        return ServerTLS(f"{folder}/tls.crt", f"{folder}/tls.key", f"{folder}/ca.crt" if client_ca else "")

    @asynccontextmanager
    async def serving(self, tls: ServerTLS | None = None, tokens: Tokens | None = None) -> AsyncIterator[str]:
        self.access = Access(policy_file(str(self.policy)), tokens, refused=self.refused.append)
        async with serving(self.desk, (tls or self.tls()).credentials(), access=self.access) as address:
            yield address

    def wire(self, address: str, certificate: Signed | None, method: str = STREAM, **more: Any) -> Wire:
        return Wire(address, method, more.pop("node", node()), self.authority.channel(certificate), **more)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


async def answered(wire: Wire) -> list[str]:
    await wire.asks(CLUSTER)
    return named(await wire.gets())


@both
async def test_Z_01_a_client_without_a_certificate_of_ours_gets_nowhere(door: Door, method: str) -> None:
    """None, one of somebody else's, one that has expired, one in plaintext: no handshake, no answer."""
    stranger = Authority("stranger").sign(WEB)
    async with door.serving() as address:
        for certificate in (None, stranger, door.authority.sign(WEB, days=-1)):
            async with door.wire(address, certificate, method) as wire:
                assert (await wire.ends())[0] is grpc.StatusCode.UNAVAILABLE
        async with Wire(address, method) as wire:
            assert (await wire.ends())[0] is grpc.StatusCode.UNAVAILABLE
        async with door.wire(address, door.authority.sign(WEB), method) as wire:
            assert await answered(wire) == ["a"]
    assert len(door.desk.proxies) == 1


async def test_Z_01_a_servers_certificate_is_no_clients(door: Door, tmp_path: Path) -> None:
    """Whoever gets at it is no proxy by that."""
    initialise(tmp_path / "own", "cluster.local")
    signer = read(tmp_path / "own")
    (tmp_path / "ca.crt").write_bytes((tmp_path / "own" / "ca.crt").read_bytes())
    async with door.serving() as address:
        for purpose, is_taken in ((Purpose.SERVER, False), (Purpose.CLIENT, True)):
            issue(signer, out := tmp_path / purpose, purpose, [WEB])
            certificate = Signed((out / "tls.crt").read_text(), (out / "tls.key").read_text())
            async with door.wire(address, certificate) as wire:
                if is_taken:
                    assert await answered(wire) == ["a"]
                else:
                    assert (await wire.ends())[0] is grpc.StatusCode.UNAVAILABLE


async def test_Z_01_certificate_key_and_authorities_are_read_again(door: Door) -> None:
    """New connections see the new ones, streams that stand go on; broken files change nothing and are told."""
    tls, old = door.tls(), door.authority
    client = old.sign(WEB)
    async with door.serving(tls) as address, door.wire(address, client) as stays:
        await stays.asks(CLUSTER)
        await stays.acks(await stays.gets())
        (door.folder / "tls.key").write_text("-----BEGIN PRIVATE KEY-----\nno\n")
        async with door.wire(address, client) as wire:
            assert await answered(wire) == ["a"]
        (problem,) = tls.fresh.problems
        assert (problem.code, problem.file) == ("LEG0901", f"{door.folder}/tls.key")

        door.authority = new = Authority("new")
        new.sign("localhost", "127.0.0.1").in_files(door.folder)
        (door.folder / "ca.crt").write_text(new.certificate)
        async with door.wire(address, new.sign(WEB)) as wire:
            assert await answered(wire) == ["a"]
        assert tls.fresh.problems == ()
        door.authority = old
        async with door.wire(address, client) as wire:
            assert (await wire.ends())[0] is grpc.StatusCode.UNAVAILABLE
        door.desk.puts(packed(CLUSTER, "b"))
        assert "b" in named(await stays.gets())


@pytest.mark.parametrize("broken", ["tls.crt", "tls.key", "ca.crt"])
@pytest.mark.parametrize("how", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_Z_01_broken_files_are_no_beginning(door: Door, broken: str, how: str) -> None:
    """The file is named; nothing of it is quoted."""
    (door.folder / broken).write_text(how)
    with pytest.raises(Unfit) as caught:
        door.tls()
    (problem,) = caught.value.problems
    assert problem.file == str(door.folder / broken)
    assert "AAAA" not in str(problem)


def test_Z_01_a_key_must_fit_its_certificate(door: Door) -> None:
    """Before gRPC finds out, and serves nothing at all."""
    (door.folder / "tls.key").write_text(door.authority.sign("other").key)
    with pytest.raises(Unfit, match="is not the key of the certificate"):
        door.tls()


@both
@pytest.mark.parametrize("claims", [node(namespace="bank"), node("router"), "plain-id", node("router", "bank")])
async def test_Z_02_what_a_node_claims_beyond_its_identity_ends_the_stream(
    door: Door, method: str, claims: str
) -> None:
    """PERMISSION_DENIED, in words that say what to write; nothing was made for it, and it was counted."""
    async with door.serving() as address, door.wire(address, door.authority.sign(WEB), method, node=claims) as wire:
        await wire.asks(CLUSTER)
        code, words = await wire.ends()
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert WEB in words
    assert "policy file" in words
    assert door.desk.proxies == []
    assert door.refused == ["denied"]


async def test_Z_02_metadata_wins_no_namespace_either(door: Door) -> None:
    """The namespace that counts is checked, wherever it is said."""
    async with door.serving() as address, door.wire(address, door.authority.sign(WEB), node=None) as wire:
        request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER)
        request.node.id = node()
        request.node.metadata.update({"NAMESPACE": "bank"})
        await wire.raw(request.SerializeToString())
        assert (await wire.ends())[0] is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "names", [(WEB, "spiffe://cluster.local/ns/bank/sa/web"), ("https://web.example/",), ("127.0.0.1",), ("*.shop",)]
)
async def test_Z_02_a_certificate_names_one_identity(door: Door, names: tuple[str, ...]) -> None:
    """One URI, a SPIFFE ID, or host names; anything else is nobody."""
    async with door.serving() as address, door.wire(address, door.authority.sign(*names)) as wire:
        assert (await wire.ends())[0] is grpc.StatusCode.UNAUTHENTICATED
    assert door.refused == ["unauthenticated"]


async def test_Z_02_N_04_another_node_later_is_nobody_else(door: Door) -> None:
    """What was checked once is what is served."""
    async with door.serving() as address, door.wire(address, door.authority.sign(WEB)) as wire:
        assert await answered(wire) == ["a"]
        wire.node = node(namespace="bank")
        await wire.asks(LISTENER)
        await wire.gets()
        assert [proxy.namespace for proxy in door.desk.proxies] == ["shop"]


async def test_Z_02_host_names_are_identities(door: Door) -> None:
    """`name.namespace`, short or long."""
    for name in ("web.shop", "web.shop.svc.cluster.local"):
        async with door.serving() as address, door.wire(address, door.authority.sign(name)) as wire:
            assert await answered(wire) == ["a"]


class Issuer:
    """Makes tokens and the file with its public key."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "jwks.json"
        self.turn()

    def turn(self, kid: str = "one") -> None:
        """Another key."""
        self.key, self.kid = ec.generate_private_key(ec.SECP256R1()), kid
        public = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.file.write_text(json.dumps({"keys": [{**public, "kid": kid, "use": "sig"}]}))

    def tokens(self) -> Tokens:
        return Tokens(str(self.file), "https://issuer.example", ["legation"])

    def sign(self, **claims: Any) -> str:
        told = {
            "iss": "https://issuer.example", "aud": "legation", "sub": WEB, "exp": time.time() + 600, **claims
        }  # fmt: skip
        kept = {name: claim for name, claim in told.items() if claim is not None}
        return jwt.encode(kept, self.key, "ES256", headers={"kid": self.kid})


@both
async def test_Z_03_a_token_is_an_identity(door: Door, method: str) -> None:
    """On a port of its own, since gRPC asks all clients of a port for certificates or none."""
    issuer = Issuer(door.folder)
    async with door.serving(door.tls(client_ca=False), issuer.tokens()) as address:
        for subject in (WEB, "system:serviceaccount:shop:web"):
            async with door.wire(address, None, method, token=issuer.sign(sub=subject)) as wire:
                assert await answered(wire) == ["a"]
        # A name that reads as a host name is none: nobody has verified that the issuer means that.
        for token, claims in ((issuer.sign(), node(namespace="bank")), (issuer.sign(sub="web.shop"), node())):
            async with door.wire(address, None, method, token=token, node=claims) as wire:
                await wire.asks(CLUSTER)
                assert (await wire.ends())[0] is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1.0}, {"exp": None}, {"exp": inf}, {"nbf": time.time() + 3600}, {"aud": "other"}, {"aud": None},
        {"iss": "https://other.example"}, {"iss": None}, {"sub": None}, {"sub": "https://web.example"},
        {"sub": "two\nlines"}, {"sub": ""},
        {"sub": "system:serviceaccount:shop/sa/web:x y"},
    ],
)  # fmt: skip
def test_Z_03_audience_issuer_and_times_are_checked(tmp_path: Path, claims: dict[str, Any]) -> None:
    """Each of them must be there and right."""
    issuer = Issuer(tmp_path)
    issuer.tokens().read(issuer.sign(), "cluster.local")
    with pytest.raises(Unauthenticated):
        issuer.tokens().read(issuer.sign(**claims), "cluster.local")


def test_Z_03_only_the_keys_of_the_file_sign(tmp_path: Path) -> None:
    """Not another key, not none, and not the public key taken for a password."""
    issuer = Issuer(tmp_path)
    tokens, good = issuer.tokens(), issuer.sign()
    claims = jwt.decode(good, options={"verify_signature": False})
    other = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "one"})
    unsigned = jwt.encode(claims, None, "none", headers={"kid": "one"})
    head, body, _ = jwt.encode(claims, "x" * 32, "HS256", headers={"kid": "one"}).split(".")
    mac = hmac.digest(issuer.file.read_bytes(), f"{head}.{body}".encode(), "sha256")
    password = f"{head}.{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    for bad in (
        other,
        unsigned,
        password,
        good[:-4],
        "",
        "a.b.c",
        jwt.encode(claims, issuer.key, "ES256", {"kid": "x"}),
    ):
        with pytest.raises(Unauthenticated):
            tokens.read(bad, "cluster.local")
    tokens.read(jwt.encode(claims, issuer.key, "ES256"), "cluster.local")


def test_Z_03_keys_turn(tmp_path: Path) -> None:
    """The file is read again; a broken one changes nothing."""
    issuer = Issuer(tmp_path)
    tokens, old = issuer.tokens(), issuer.sign()
    issuer.file.write_text("{")
    tokens.fresh.look()
    tokens.read(old, "cluster.local")
    assert tokens.fresh.problems
    issuer.turn("two")
    tokens.fresh.look()
    tokens.read(issuer.sign(), "cluster.local")
    with pytest.raises(Unauthenticated):
        tokens.read(old, "cluster.local")


@pytest.mark.parametrize("change", [{"kty": "oct", "k": "c2VjcmV0"}, {"use": "sig"}, {"d": None, "use": "enc"}])
def test_Z_03_a_file_with_keys_that_sign_is_refused(tmp_path: Path, change: dict[str, str | None]) -> None:
    """Whoever can read it could make tokens. A key for something else is none of ours."""
    issuer = Issuer(tmp_path)
    private = {**jwt.algorithms.ECAlgorithm.to_jwk(issuer.key, as_dict=True), **change}
    issuer.file.write_text(json.dumps({"keys": [{name: part for name, part in private.items() if part}]}))
    with pytest.raises(Unfit):
        issuer.tokens()


async def test_Z_04_what_expires_ends_its_streams(door: Door) -> None:
    """Identity is checked at the beginning, and again as long as the stream lasts."""
    async with door.serving() as address, door.wire(address, door.authority.sign(WEB, days=2 / 86400)) as wire:
        assert await answered(wire) == ["a"]
        (session,) = door.desk.sessions
        assert door.access.still(session.peer, session.proxy) is None

        async def ends() -> tuple[str, str] | None:
            return door.access.still(session.peer, session.proxy)

        end = await eventually(ends, lambda found: found is not None)
        assert end is not None
        assert end[0] == "UNAUTHENTICATED"
        session.close(*end)
        assert (await wire.ends())[0] is grpc.StatusCode.UNAUTHENTICATED
    assert door.refused == ["expired"]


async def test_Z_04_a_policy_that_changed_counts_for_streams_that_stand(door: Door) -> None:
    """What is no longer allowed is ended; a policy that is broken changes nothing."""
    async with door.serving() as address, door.wire(address, door.authority.sign(WEB)) as wire:
        assert await answered(wire) == ["a"]
        (session,) = door.desk.sessions
        door.policy.write_text("proxies: [{identity: '*', role: [gateway]}]")
        door.access.look()
        assert [problem.code for problem in door.access.problems] == ["LEG0902"]
        assert door.access.still(session.peer, session.proxy) is None
        door.policy.write_text("proxies: [{identity: '*', roles: [gateway]}]")
        door.access.look()
        assert door.access.problems == []
        assert door.access.is_new()
        assert not door.access.is_new()
        end = door.access.still(session.peer, session.proxy)
        assert end is not None
        assert end[0] == "PERMISSION_DENIED"


async def test_Z_05_Z_08_without_a_token_nothing_is_read(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """UNAUTHENTICATED before the first message, for every service; said once, however often it comes back."""
    async with door.serving(door.tls(client_ca=False), Issuer(door.folder).tokens()) as address:
        for token in ("", "", "garbage"):
            async with door.wire(address, None, token=token) as wire:
                assert (await wire.ends())[0] is grpc.StatusCode.UNAUTHENTICATED
        async with grpc.aio.secure_channel(address, door.authority.channel()) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert door.refused == ["unauthenticated"] * 4
    assert len([record for record in caplog.records if record.getMessage().startswith("refused ")]) == 2


async def test_Z_05_health_is_there_for_who_shows_who_it_is(door: Door) -> None:
    """With the channel's credentials."""
    credentials = door.authority.channel(door.authority.sign(WEB))
    async with door.serving() as address, grpc.aio.secure_channel(address, credentials) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


class Client:
    """A session that was served something."""

    def __init__(self, peer: Peer, namespace: str) -> None:
        self.proxy = Proxy("the same id", Role.SIDECAR, namespace, "x")
        self.peer = peer
        self.previous = Snapshot()

    def status(self) -> ProxyStatus:
        return ProxyStatus(self.proxy.id, "", "", "delta")

    def served(self) -> Snapshot:
        return snapshot([packed(SECRET, "private")])

    def publish(self, snapshot: Snapshot, change: Change) -> None: ...

    def close(self, code: str, detail: str) -> None: ...


async def test_Z_06_what_a_client_had_is_for_the_same_client_only() -> None:
    """An id is a claim: under the id of another, nobody gets what that one was served last."""
    fleet = Fleet(World(Mesh()), Metrics.on(CollectorRegistry()), lambda session, refusal: None)
    web, bank = Identity((WEB,)), Identity(("spiffe://cluster.local/ns/bank/sa/teller",))

    def left_to(peer: Peer, namespace: str = "shop", by: Peer = Peer(Channel.TLS, "a", web, 1.0)) -> bool:  # noqa: B008
        """Whether it has what another client with the same id had that is gone."""
        first, second = Client(by, "shop"), Client(peer, namespace)
        fleet.join(first.proxy, first)
        fleet.leave(first)
        fleet.join(second.proxy, second)
        return bool(second.previous.of(SECRET))

    assert left_to(Peer(Channel.TLS, "b", web, 2.0))
    assert not left_to(Peer(Channel.TLS, "b", bank), "bank")
    assert not left_to(Peer(Channel.TLS, "b", web), "bank")
    assert not left_to(Peer(Channel.LOOPBACK))
    assert not left_to(Peer(Channel.LOOPBACK), by=Peer(Channel.SOCKET))


async def test_Z_07_the_admin_api_asks_for_an_administrator(door: Door, tmp_path: Path) -> None:
    """Over TLS one that is listed; in plaintext, whoever is on this machine."""
    asked: list[str] = []

    async def whoami(_: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        try:
            asked.append(door.access.administrator(context).channel)
        except PermissionError as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        return b""

    handler = grpc.method_handlers_generic_handler("admin", {"Who": grpc.unary_unary_rpc_method_handler(whoami)})
    door.policy.write_text("administrators: ['spiffe://cluster.local/ns/ops/sa/*']\nproxies: [{identity: '*'}]")
    door.access = Access(policy_file(str(door.policy)), refused=door.refused.append)

    async def call(credentials: grpc.ChannelCredentials | None, address: str) -> None:
        make = (
            grpc.aio.insecure_channel(address) if credentials is None else grpc.aio.secure_channel(address, credentials)
        )
        async with make as channel:
            await channel.unary_unary("/admin/Who")(b"")

    for address, credentials in (
        ("127.0.0.1:0", None),
        (f"unix:{tmp_path}/s", None),
        ("127.0.0.1:0", door.tls().credentials()),
    ):
        server = Server(door.desk, access=door.access, handlers=[handler])
        bound = server.bind(address, credentials)
        await server.start()
        try:
            if credentials is None:
                await call(None, bound)
                continue
            await call(door.authority.channel(door.authority.sign("spiffe://cluster.local/ns/ops/sa/ann")), bound)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(door.authority.channel(door.authority.sign(WEB)), bound)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        finally:
            await server.stop(drain=0)
    assert asked == [Channel.LOOPBACK, Channel.SOCKET, Channel.TLS]
