"""The channel over TLS: real certificates, tokens and policies between a real server and real Envoys."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from legation.bootstrap import Secure
from legation.model.proxy import Role

from .authority import Authority, Signed, authority
from .mesh import Mesh, Program, Proxy, eventually, gateway, rule, service
from .test_secure_ingress import gateway as ingress
from .test_secure_ingress import https, secret, shown

pytestmark = pytest.mark.envoy

EDGE = "spiffe://cluster.local/ns/default/sa/edge"
CALLER = "spiffe://cluster.local/ns/default/sa/caller"


class Channel:
    """A mesh whose server speaks TLS, and the folders of its certificates."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.base = mesh.folder.parent
        self.policy = self.base / "policy.yaml"
        self.policy.write_text("# nothing\n")
        self.address = ""

    async def certs(self, *arguments: str) -> None:
        """`legation certs …`, which succeeds."""
        program = await Program.start("certs", *arguments)
        assert await program.ended() == 0

    async def made(self) -> None:
        """An authority and the server's certificate, as a user makes them."""
        await self.certs("init", f"{self.base}/ca")
        await self.certs(
            "issue",
            "--ca",
            f"{self.base}/ca",
            "--role",
            "server",
            "--name",
            "localhost",
            "--out",
            f"{self.base}/server",
        )

    async def identity(self, name: str, namespace: str = "default", role: str = "sidecar") -> Path:
        """A proxy's folder of certificates."""
        out = self.base / f"{name}.{namespace}"
        await self.certs(
            "issue", "--ca", f"{self.base}/ca", "--name", name, "--namespace", namespace, "--role", role, "--out", str(out)
        )  # fmt: skip
        return out

    async def serve(self, *more: str) -> None:
        base = self.base
        arguments = more or ("--client-ca", f"{base}/ca/ca.crt", "--tls-listen", "127.0.0.1:0")
        await self.mesh.serve(
            "--tls-cert", f"{base}/server/tls.crt", "--tls-key", f"{base}/server/tls.key", "--policy",
            str(self.policy), *arguments,
        )  # fmt: skip
        found = re.search(r"(127\.0\.0\.1:\d+) \(TLS\)", self.mesh.server.text)
        assert found is not None
        self.address = found[1]

    def secure(self, folder: Path, server_name: str = "localhost") -> Secure:
        return Secure(
            str(folder), f"{folder}/ca.crt", f"{folder}/tls.crt", f"{folder}/tls.key", server_name=server_name
        )

    async def proxy(self, folder: Path, role: Role, name: str, namespace: str, *ports: int) -> Proxy:
        return await self.mesh.secured(role, name, namespace, self.address, self.secure(folder), *ports)

    async def connected(self, *wanted: tuple[str, str]) -> list[dict[str, Any]]:
        """Returns once just these (namespace, identity) are connected and have everything."""

        def is_so(found: list[dict[str, Any]]) -> bool:
            return sorted((one["namespace"], one["identity"]) for one in found) == sorted(wanted) and all(
                one["synced"] and one["types"] for one in found
            )

        return await eventually(self.mesh.proxies, is_so)


@pytest.fixture
def channel(mesh: Mesh) -> Channel:
    return Channel(mesh)


@pytest.fixture
def lone(single: Mesh) -> Channel:
    """For what does not depend on the variant."""
    return Channel(single)


def red(channel: Channel, port: int) -> None:
    channel.mesh.write("mesh.yaml", gateway(80), service("one", port), rule("red", "one"))


async def test_a_gateway_with_an_entry_has_its_routes_and_its_keys(channel: Channel) -> None:
    """From `legation certs` to a handshake with the certificate that a Gateway's credentialName names."""
    mesh, made = channel.mesh, authority()
    port = await mesh.stand_in("one-v1")
    certificate = made.sign("red.example")
    mesh.write(
        "mesh.yaml", ingress(https("red.example", credentialName="cert")), secret("cert", certificate),
        service("one", port), rule("red", "one"),
    )  # fmt: skip
    await channel.made()
    folder = await channel.identity("edge", role="gateway")
    channel.policy.write_text(f"proxies:\n- identity: {EDGE}\n  roles: [gateway]\n")
    await channel.serve()
    proxy = await channel.proxy(folder, Role.GATEWAY, "edge-1", "default", 443)
    await channel.connected(("default", EDGE))
    client = made.client()
    answer = await proxy.at(443).answers(lambda answer: answer.status == 200, host="red.example", tls=client)
    assert answer.workload == "one-v1"
    assert await shown(proxy.at(443), client, "red.example") == certificate.serial
    assert not [path for path in folder.iterdir() if path.name.endswith(".key") and path.stat().st_mode & 0o077]


async def test_a_node_is_not_what_its_certificate_is_not(channel: Channel) -> None:
    """A caller's certificate of one namespace is no proxy of another and no gateway, until the policy says so; and no
    longer than it says so. What a proxy has it keeps.
    """
    mesh = channel.mesh
    red(channel, await mesh.stand_in("one-v1"))
    await channel.made()
    folder = await channel.identity("caller")
    await channel.serve()
    thief = await channel.proxy(folder, Role.SIDECAR, "teller", "bank", 80)
    await mesh.server.says(rf"refused .*: {CALLER} may not be the sidecar teller in namespace bank: .*policy file")
    edge = await channel.proxy(folder, Role.GATEWAY, "edge", "default", 80)
    await mesh.server.says(rf"refused .*: {CALLER} may not be the gateway edge in namespace default")
    caller = await channel.proxy(folder, Role.SIDECAR, "caller", "default", 80)
    await channel.connected(("default", CALLER))
    for refused in (thief, edge):
        assert (await refused.envoy.ask("/ready"))[0] == 503
        assert await refused.envoy.listeners() == {}
    assert await caller.envoy.listeners() != {}
    metrics = (await mesh.console.ask("/metrics")).body.decode()
    assert re.search(r'^legation_refusals_total\{why="denied"\} [1-9]', metrics, re.MULTILINE)

    channel.policy.write_text(f"proxies:\n- identity: {CALLER}\n  roles: [gateway]\n")
    await channel.connected(("default", CALLER))
    assert (await edge.at(80).workload("one-v1", host="red.example")).status == 200
    (left,) = await mesh.proxies()
    assert left["role"] == "gateway"

    since = len(mesh.server.lines)
    channel.policy.write_text(f"proxies:\n- identity: {CALLER}\n  rolls: [gateway]\n")
    await mesh.server.says(r"policy.yaml:3:3: .*unknown field `rolls` \(did you mean `roles`", since)
    assert len(await mesh.proxies()) == 1
    channel.policy.write_text("# nothing\n")
    await eventually(mesh.proxies, lambda found: [one["role"] for one in found] == ["sidecar"])
    assert (await edge.at(80).ask(host="red.example")).status == 200


async def test_everything_about_tls_changes_while_it_runs(lone: Channel) -> None:
    """The server's certificate, key and authorities, the proxy's own; streams that stand go on, new ones see the new."""
    mesh = lone.mesh
    port, other = await mesh.stand_in("one-v1"), await mesh.stand_in("two-v1")
    red(lone, port)
    await lone.made()
    folder = await lone.identity("edge", role="gateway")
    lone.policy.write_text(f"proxies:\n- identity: {EDGE}\n  roles: [gateway]\n")
    await lone.serve()
    first = await lone.proxy(folder, Role.GATEWAY, "first", "default", 80)
    (before,) = await lone.connected(("default", EDGE))
    await first.at(80).workload("one-v1", host="red.example")

    key = lone.base / "server/tls.key"
    good = key.read_text()
    key.write_text("garbage, which nobody quotes")
    told = await eventually(mesh.problems, lambda said: [one for one in said["problems"] if one["code"] == "LEG0901"])
    (problem,) = (one for one in told["problems"] if one["code"] == "LEG0901")
    assert problem["file"] == str(key)
    assert "garbage" not in json.dumps(told) + mesh.server.text
    key.write_text(good)
    await eventually(mesh.problems, lambda said: not said["problems"])

    await lone.certs("init", f"{lone.base}/ca", "--force")
    for name, role in (("localhost", "server"), ("edge", "gateway")):
        out = lone.base / "server" if role == "server" else lone.base / "new"
        await lone.certs(
            "issue", "--ca", f"{lone.base}/ca", "--role", role, "--name", name, "--out", str(out), "--force"
        )
    second = await lone.proxy(lone.base / "new", Role.GATEWAY, "second", "default", 80)
    await second.at(80).workload("one-v1", host="red.example")
    assert before["peer"] in {one["peer"] for one in await lone.connected(("default", EDGE), ("default", EDGE))}
    mesh.write("mesh.yaml", gateway(80), service("one", port), service("two", other), rule("red", "two"))
    for proxy in (first, second):
        await proxy.at(80).workload("two-v1", host="red.example")


async def test_who_expires_comes_back_with_the_newer_certificate(lone: Channel) -> None:
    """Its stream ends when the certificate that it showed does; Envoy has read the next one meanwhile."""
    mesh, made = lone.mesh, Authority()
    red(lone, await mesh.stand_in("one-v1"))
    for name in ("ca", "server", "edge"):
        (lone.base / name).mkdir()
        (lone.base / name / "ca.crt").write_text(made.certificate)
    made.sign("localhost", days=5).in_files(lone.base / "server")
    lone.policy.write_text(f"proxies:\n- identity: {EDGE}\n  roles: [gateway]\n")
    await lone.serve()
    folder = made.sign(EDGE, days=9 / 86400).in_files(lone.base / "edge")
    proxy = await lone.proxy(folder, Role.GATEWAY, "edge", "default", 80)
    (before,) = await lone.connected(("default", EDGE))
    (soon,) = (await mesh.problems())["problems"]
    assert (soon["code"], soon["file"]) == ("LEG0803", f"{lone.base}/server/tls.crt")
    metrics = (await mesh.console.ask("/metrics")).body.decode()
    (left,) = re.findall(r"^legation_certificate_expiry_seconds (\S+)", metrics, re.MULTILINE)
    assert 4 * 86400 < float(left) <= 5 * 86400
    replace(folder, made.sign(EDGE))
    await mesh.server.says("refused .* has expired")
    await eventually(mesh.proxies, lambda found: [one["peer"] for one in found] not in ([], [before["peer"]]))
    await proxy.at(80).workload("one-v1", host="red.example")


def replace(folder: Path, made: Signed) -> None:
    """As tools that renew do: written beside, and renamed."""
    for name, text in (("tls.key", made.key), ("tls.crt", made.certificate)):
        beside = folder / f".{name}"
        beside.write_text(text)
        beside.replace(folder / name)


async def test_a_token_is_as_good_as_a_certificate(channel: Channel) -> None:
    """On its own port; none, a foreign one and an expired one are not. A new one is read while Envoy runs."""
    mesh, key = channel.mesh, ec.generate_private_key(ec.SECP256R1())
    red(channel, await mesh.stand_in("one-v1"))
    await channel.made()
    jwks = channel.base / "jwks.json"
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwks.write_text(json.dumps({"keys": [{**public, "kid": "k"}]}))
    channel.policy.write_text("proxies:\n- identity: jwt:edge-robot\n  roles: [gateway]\n  namespaces: [default]\n")
    await channel.serve("--jwt-listen", "127.0.0.1:0", "--jwks", str(jwks), "--jwt-issuer", "https://issuer.example")

    def signed(by: ec.EllipticCurvePrivateKey, seconds: float, audience: str = "legation") -> str:
        claims = {"iss": "https://issuer.example", "aud": audience, "sub": "edge-robot", "exp": time.time() + seconds}
        return jwt.encode(claims, by, "ES256", headers={"kid": "k"})

    token = channel.base / "token"
    token.write_text(signed(ec.generate_private_key(ec.SECP256R1()), 600))
    secure = Secure(
        str(channel.base), f"{channel.base}/ca/ca.crt", token=str(token), server_name="localhost"
    )  # fmt: skip
    proxy = await mesh.secured(Role.GATEWAY, "edge", "default", channel.address, secure, 80)
    await mesh.server.says("refused .*the token is not taken")
    assert await mesh.proxies() == []
    for text in (signed(key, 600, audience="other"), signed(key, 9), signed(key, 600)):
        beside = channel.base / ".token"
        since = len(mesh.server.lines)
        beside.write_text(text)
        beside.replace(token)
        if "other" in jwt.decode(text, options={"verify_signature": False})["aud"]:
            await mesh.server.says("refused .*[Aa]udience", since)
            assert await mesh.proxies() == []
        else:
            await channel.connected(("default", "jwt:edge-robot"))
    await mesh.server.says("refused .* has expired")
    await channel.connected(("default", "jwt:edge-robot"))
    await proxy.at(80).workload("one-v1", host="red.example")
    assert "eyJ" not in mesh.server.text


async def test_a_server_of_another_name_is_not_trusted(lone: Channel) -> None:
    """Whoever has a certificate of the authority is not the server by that."""
    red(lone, 1)
    await lone.made()
    folder = await lone.identity("caller")
    await lone.serve()
    secure = lone.secure(folder, server_name="legation.example")
    proxy = await lone.mesh.secured(Role.SIDECAR, "caller", "default", lone.address, secure)

    async def failures() -> int:
        _, text = await proxy.envoy.ask("/stats?filter=legation-xds.*fail_verify_san")
        return int((re.search(r"fail_verify_san: (\d+)", text) or ["", "0"])[1])

    await eventually(failures, lambda found: found > 1)
    assert await lone.mesh.proxies() == []


@pytest.mark.parametrize("broken", ["server/tls.crt", "server/tls.key", "ca/ca.crt", "policy.yaml"])
async def test_what_is_broken_is_no_beginning(lone: Channel, broken: str) -> None:
    """The server does not start open: exit 1, and the file is named."""
    red(lone, 1)
    await lone.made()
    (lone.base / broken).write_text("garbage")
    program = await lone.mesh.start(
        "--tls-cert", f"{lone.base}/server/tls.crt", "--tls-key", f"{lone.base}/server/tls.key", "--client-ca",
        f"{lone.base}/ca/ca.crt", "--tls-listen", "127.0.0.1:0", "--policy", str(lone.policy),
    )  # fmt: skip
    assert await program.ended() == 1
    assert re.search(rf"not started: {lone.base}/{broken}", program.text)


async def test_certificates_are_never_lost_by_mistake(lone: Channel) -> None:
    """`certs` replaces nothing unless it is told to, and its keys are readable by their owner only."""
    base = lone.base
    old = os.umask(0)
    try:
        await lone.made()
    finally:
        os.umask(old)
    kept = {path: path.read_bytes() for path in base.glob("*/*.*")}
    for arguments in (
        ("init", f"{base}/ca"),
        ("issue", "--ca", f"{base}/ca", "--role", "server", "--name", "localhost", "--out", f"{base}/server"),
    ):
        program = await Program.start("certs", *arguments)
        assert await program.ended() == 1
        assert "--force" in program.text
    assert kept == {path: path.read_bytes() for path in base.glob("*/*.*")}
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept if path.suffix == ".key"} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (base / "ca", base / "server")} == {0o700}
    for arguments in (
        ("issue", "--ca", f"{base}/nope", "--name", "x", "--out", f"{base}/x"),
        ("issue", "--ca", f"{base}/ca", "--name", "a/b", "--out", f"{base}/x"),
        ("issue", "--ca", f"{base}/ca", "--name", "x", "--ip", "1.2.3", "--out", f"{base}/x"),
        ("init", f"{base}/other", "--trust-domain", "a b"),
    ):
        program = await Program.start("certs", *arguments)
        assert await program.ended() == 2
    assert not (base / "x").exists()


async def test_status_over_tls_is_for_administrators(lone: Channel) -> None:
    """One that the policy lists; a proxy's certificate is no administrator's."""
    lone.mesh.write("mesh.yaml", gateway())
    await lone.made()
    ann, web = await lone.identity("ann", "ops", "admin"), await lone.identity("web")
    lone.policy.write_text("administrators: ['spiffe://cluster.local/ns/ops/sa/*']\n")
    await lone.serve()
    server = lone.address.replace("127.0.0.1", "localhost")

    async def asked(*files: str) -> tuple[int, str]:
        program = await Program.start("status", "--server", server, *files)
        status = await program.ended()
        assert "Traceback" not in program.text
        return status, program.text

    def secure(folder: Path) -> tuple[str, ...]:
        return (
            "--server-ca", f"{folder}/ca.crt", "--client-cert", f"{folder}/tls.crt", "--client-key", f"{folder}/tls.key",
        )  # fmt: skip

    status, text = await asked(*secure(ann))
    assert (status, text.startswith("revision ")) == (0, True)
    status, text = await asked(*secure(web))
    assert (status, "is no administrator" in text) == (1, True)
    assert (await asked())[0] == 3
    assert (await asked(*secure(ann)[2:]))[0] == 2
