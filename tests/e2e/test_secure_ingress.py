"""What a gateway does with TLS and TCP, proven by handshakes, requests and bytes through a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from .authority import Authority, Signed, authority
from .mesh import Mesh, Place, binomial, document, eventually, free_port, rule, service

pytestmark = pytest.mark.envoy

FRONT = {"istio": "ingressgateway"}


# --- documents ----------------------------------------------------------------------------------------------------


def gateway(*servers: Mapping[str, Any], name: str = "front") -> dict[str, Any]:
    return document("Gateway", name, {"selector": FRONT, "servers": list(servers)})


def https(*hosts: str, name: str = "https", port: int = 443, protocol: str = "HTTPS", **tls: Any) -> dict[str, Any]:
    tls = {"mode": "SIMPLE", **tls}
    return {"port": {"number": port, "name": name, "protocol": protocol}, "hosts": list(hosts), "tls": tls}


def tcp(*hosts: str, port: int, name: str = "tcp", protocol: str = "TCP") -> dict[str, Any]:
    return {"port": {"number": port, "name": name, "protocol": protocol}, "hosts": list(hosts or ("*",))}


def secret(name: str, of: Signed | None = None, authorities: str = "", **more: str) -> dict[str, Any]:
    content = {**({"tls.crt": of.certificate, "tls.key": of.key} if of else {}), **more}
    content |= {"ca.crt": authorities} if authorities else {}
    data = {key: b64encode(text.encode()).decode() for key, text in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "data": data}


def passing(name: str, kind: str, *rules: Mapping[str, Any], hosts: tuple[str, ...] = ("*",)) -> dict[str, Any]:
    """A VirtualService with rules of a kind: http, tls or tcp."""
    return document("VirtualService", name, {"hosts": list(hosts), "gateways": ["front"], kind: list(rules)})


def to(*services: str, **weights: int) -> list[dict[str, Any]]:
    single = [{"destination": {"host": f"{name}.test"}} for name in services]
    return single + [{"destination": {"host": f"{name}.test"}, "weight": share} for name, share in weights.items()]


def raw_service(name: str, port: int, protocol: str = "TCP", number: int = 80) -> dict[str, Any]:
    spec = {
        "hosts": [f"{name}.test"],
        "ports": [{"number": number, "name": "raw", "protocol": protocol}],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "endpoints": [{"address": "127.0.0.1", "ports": {"raw": port}}],
    }
    return document("ServiceEntry", name, spec)


# --- what is behind -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def speaking(name: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that says its name to everyone who says something, and then what it heard."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            heard = await reader.readline()
            writer.write(f"{name} heard ".encode() + heard)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port := free_port(), ssl=tls)
    try:
        yield port
    finally:
        server.close()


async def say(place: Place, text: str, tls: ssl.SSLContext | None = None, asking: str | None = None) -> str:
    """One line over a connection of its own, and what came back; how it failed, if it did."""
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(
                place.address, place.port, ssl=tls, server_hostname=asking if tls else None
            )
            try:
                writer.write(f"{text}\n".encode())
                return (await reader.read()).decode().strip() or "nothing"
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError) as error:
        return type(error).__name__


async def shown(place: Place, tls: ssl.SSLContext, asking: str) -> int:
    """The serial number of the certificate that is shown to who asks for a name."""
    _, writer = await asyncio.open_connection(place.address, place.port, ssl=tls, server_hostname=asking)
    try:
        return int(writer.get_extra_info("peercert")["serialNumber"], 16)
    finally:
        writer.transport.abort()


async def refuses(place: Place, host: str, tls: ssl.SSLContext) -> None:
    answer = await place.ask("/", host, tls=tls)
    assert answer.status == 0, answer
    assert re.match("SSLError|SSLEOF|Connection|BrokenPipe|EOF", answer.error), answer.error


@pytest.fixture
def own() -> Authority:
    return authority()


# --- TLS ends here ------------------------------------------------------------------------------------------------


async def test_two_hosts_of_a_port_have_a_certificate_each(mesh: Mesh, own: Authority) -> None:
    red, blue = own.sign("red.example"), own.sign("blue.example")
    backend = await mesh.stand_in("backend")
    mesh.write("secrets.yaml", secret("red", red))
    blue.in_files(mesh.folder / "secrets/default/blue")
    mesh.write(
        "rules.yaml",
        gateway(
            https("red.example", name="red", credentialName="red"),
            https("blue.example", name="blue", credentialName="blue"),
        ),
        service("backend", backend), rule("red", "backend"), rule("blue", "backend"),
    )  # fmt: skip
    await mesh.serve()
    place = (await mesh.gateway(443)).at(443)
    for host, certificate in (("red.example", red), ("blue.example", blue)):
        answer = await place.answers(lambda answer: answer.status == 200, host=host, tls=own.client())
        assert answer.workload == "backend"
        assert await shown(place, own.client(), host) == certificate.serial
    # One connection is of one server: a host of the other is nothing that it knows.
    assert (await place.ask("/", "red.example", tls=own.client())).status == 200
    other = own.client()
    other.check_hostname, other.verify_mode = False, ssl.CERT_NONE
    assert (await place.ask("/", "green.example", tls=other)).status == 0, "nobody has that name"


async def test_http2_is_offered_and_the_name_decides_who_answers(single: Mesh, own: Authority) -> None:
    """ALPN, wildcards beside exact names, and hosts that are for the rules of one namespace."""
    backends = {name: await single.stand_in(name) for name in ("exact", "wild")}
    single.write("secrets.yaml", secret("all", own.sign("*.web.example")))
    single.write(
        "rules.yaml",
        gateway(
            https("default/a.web.example", name="exact", credentialName="all"),
            https("*.web.example", name="wild", credentialName="all"),
        ),
        *(service(name, port) for name, port in backends.items()),
        passing("a", "http", {"route": to("exact")}, hosts=("a.web.example",)),
        passing("w", "http", {"route": to("wild")}, hosts=("*.web.example",)),
    )  # fmt: skip
    await single.serve()
    place = (await single.gateway(443)).at(443)
    await place.answers(lambda answer: answer.workload == "exact", host="a.web.example", tls=own.client())
    assert (await place.ask("/", "b.web.example", tls=own.client())).workload == "wild"
    _, writer = await asyncio.open_connection(
        place.address, place.port, ssl=own.client(alpn=("h2", "http/1.1")), server_hostname="b.web.example"
    )
    try:
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    finally:
        writer.transport.abort()


async def test_mutual_takes_the_right_certificate_and_no_other(mesh: Mesh, own: Authority) -> None:
    stranger = authority("stranger")
    await one_server(
        mesh, own, https("shop.example", mode="MUTUAL", credentialName="shop"), authorities=own.certificate
    )
    place = (await mesh.gateway(443)).at(443)
    good = own.client(own.sign("client"))
    assert (
        await place.answers(lambda answer: answer.status == 200, host="shop.example", tls=good)
    ).workload == "backend"
    await refuses(place, "shop.example", own.client())
    await refuses(place, "shop.example", own.client(stranger.sign("client")))
    await refuses(place, "shop.example", own.client(own.sign("client", days=-1)))


async def test_mutual_without_authorities_takes_nobody(mesh: Mesh, own: Authority) -> None:
    """What protects never fails open; when they come it opens for whom it should."""
    await one_server(mesh, own, https("shop.example", mode="MUTUAL", credentialName="shop"))
    place = (await mesh.gateway(443)).at(443)
    good = own.client(own.sign("client"))
    for client in (good, own.client()):
        await refuses(place, "shop.example", client)
    mesh.write("authorities.yaml", secret("shop-cacert", authorities=own.certificate))
    await place.answers(lambda answer: answer.status == 200, host="shop.example", tls=good)
    await refuses(place, "shop.example", own.client())
    # Gone again it is not forgotten: who was refused before is refused still.
    mesh.write("authorities.yaml", "# none\n")
    await mesh.at_rest(1)
    await refuses(place, "shop.example", own.client())


async def test_mutual_asks_for_names_and_hashes_and_what_is_not_revoked(single: Mesh, own: Authority) -> None:
    named, unnamed, revoked = own.sign("spiffe://here/ns/a/sa/b"), own.sign("client"), own.sign("revoked")
    hashed = own.sign("hashed")
    certificate = own.sign("named.example", "hashed.example", "revoked.example")
    mutual = {"mode": "MUTUAL", "credentialName": "shop"}
    crl = {"ca.crl": own.revoking(revoked)}
    backend = await single.stand_in("backend")
    single.write("secrets.yaml", secret("shop", certificate, own.certificate, **crl))
    single.write(
        "rules.yaml",
        gateway(
            https("named.example", name="named", **mutual, subjectAltNames=["spiffe://here/ns/a/sa/b"]),
            https("hashed.example", name="hashed", **mutual, verifyCertificateHash=[hashed.fingerprint]),
            https("revoked.example", name="revoked", **mutual),
        ),
        service("backend", backend), *(rule(name, "backend") for name in ("named", "hashed", "revoked")),
    )  # fmt: skip
    await single.serve()
    place = (await single.gateway(443)).at(443)
    takes = {"named.example": named, "hashed.example": hashed, "revoked.example": unnamed}
    for host, client in takes.items():
        await place.answers(lambda answer: answer.status == 200, host=host, tls=own.client(client))
    await refuses(place, "named.example", own.client(unnamed))
    await refuses(place, "hashed.example", own.client(named))
    await refuses(place, "revoked.example", own.client(revoked))


async def test_optional_mutual_takes_none_and_the_right_one(single: Mesh, own: Authority) -> None:
    server = https("shop.example", mode="OPTIONAL_MUTUAL", credentialName="shop")
    await one_server(single, own, server, authorities=own.certificate)
    place = (await single.gateway(443)).at(443)
    await place.answers(lambda answer: answer.status == 200, host="shop.example", tls=own.client())
    assert (await place.ask("/", "shop.example", tls=own.client(own.sign("client")))).status == 200
    await refuses(place, "shop.example", own.client(authority("stranger").sign("client")))


async def test_versions_and_two_certificates_of_a_server(single: Mesh, own: Authority) -> None:
    """The newest version only; an RSA and an ECDSA certificate side by side, each for who can use it."""
    elliptic, classic = own.sign("shop.example"), own.sign("shop.example", rsa_key=True)
    backend = await single.stand_in("backend")
    single.write("secrets.yaml", secret("elliptic", elliptic), secret("classic", classic), secret("new", elliptic))
    single.write(
        "rules.yaml",
        gateway(
            https("shop.example", name="both", credentialNames=["elliptic", "classic"], maxProtocolVersion="TLSV1_2"),
            https("new.example", name="new", credentialName="new", minProtocolVersion="TLSV1_3"),
        ),
        service("backend", backend), rule("shop", "backend"), rule("new", "backend"),
    )  # fmt: skip
    await single.serve()
    place = (await single.gateway(443)).at(443)
    await place.answers(lambda answer: answer.status == 200, host="shop.example", tls=own.client())
    for cipher, certificate in (("ECDHE-ECDSA-AES128-GCM-SHA256", elliptic), ("ECDHE-RSA-AES128-GCM-SHA256", classic)):
        client = own.client()
        client.set_ciphers(cipher)
        assert await shown(place, client, "shop.example") == certificate.serial
    old, new = own.client(), own.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    for client in (old, new):
        client.check_hostname = False
    assert (await place.ask("/", "new.example", tls=new)).status == 200
    await refuses(place, "new.example", old)
    await refuses(place, "shop.example", new)


async def test_the_mesh_says_what_tls_is_at_least(single: Mesh, own: Authority) -> None:
    shop, old_shop = own.sign("shop.example"), own.sign("old.example")
    backend = await single.stand_in("backend")
    front = gateway(
        https("shop.example", name="shop", credentialName="shop"),
        https("old.example", name="old", credentialName="old", minProtocolVersion="TLSV1_2"),
    )
    single.write("secrets.yaml", secret("shop", shop), secret("old", old_shop))
    single.write("rules.yaml", front, service("backend", backend), rule("shop", "backend"), rule("old", "backend"))
    await single.serve()
    place = (await single.gateway(443)).at(443)
    client = own.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    await place.answers(lambda answer: answer.status == 200, host="shop.example", tls=client)
    everywhere = {"apiVersion": "mesh.istio.io/v1alpha1", "kind": "MeshConfig", "metadata": {"name": "mesh"}}
    single.write("mesh.yaml", {**everywhere, "spec": {"tlsDefaults": {"minProtocolVersion": "TLSV1_3"}}})
    await place.answers(lambda answer: answer.status == 0, host="shop.example", tls=client)
    await refuses(place, "shop.example", client)
    assert (await place.ask("/", "shop.example", tls=own.client())).status == 200
    assert (await place.ask("/", "old.example", tls=client)).status == 200


async def test_certificates_in_files_on_the_proxys_host(single: Mesh, own: Authority) -> None:
    """They never pass through the server, and a new one that is moved in takes over."""
    first, second = own.sign("shop.example"), own.sign("shop.example")
    folder = first.in_files(single.folder.parent / "host")
    (folder / "ca.crt").write_text(own.certificate)
    files = {"serverCertificate": f"{folder}/tls.crt", "privateKey": f"{folder}/tls.key"}
    backend = await single.stand_in("backend")
    single.write(
        "rules.yaml",
        gateway(https("shop.example", mode="MUTUAL", **files, caCertificates=f"{folder}/ca.crt")),
        service("backend", backend), rule("shop", "backend"),
    )  # fmt: skip
    await single.serve()
    place = (await single.gateway(443)).at(443)
    good = own.client(own.sign("client"))
    await place.answers(lambda answer: answer.status == 200, host="shop.example", tls=good)
    assert await shown(place, good, "shop.example") == first.serial
    await refuses(place, "shop.example", own.client())
    beside = second.in_files(single.folder.parent / "beside")
    (beside / "tls.key").replace(folder / "tls.key")
    (beside / "tls.crt").replace(folder / "tls.crt")
    await eventually(lambda: shown(place, good, "shop.example"), lambda serial: serial == second.serial)


async def test_a_missing_secret_costs_its_own_host_only(mesh: Mesh, own: Authority) -> None:
    """Its name does not fall to the wildcard beside it either, and when it comes it serves."""
    backend = await mesh.stand_in("backend")
    mesh.write("secrets.yaml", secret("wild", own.sign("other.example", "shop.example")))
    mesh.write(
        "rules.yaml",
        gateway(
            https("shop.example", name="shop", credentialName="shop"),
            https("*.example", name="wild", credentialName="wild"),
        ),
        service("backend", backend), rule("shop", "backend"), rule("other", "backend"),
    )  # fmt: skip
    server = await mesh.serve()
    place = (await mesh.gateway(443)).at(443)
    # Without an answer in the negative Envoy would open nothing for 15 s; state of the world has no such answer.
    within = 10 if mesh.variant == "delta" else 20
    await place.answers(lambda answer: answer.status == 200, host="other.example", tls=own.client(), within=within)
    await refuses(place, "shop.example", own.client())
    await server.says(r"there is no Secret shop; every handshake with this server is refused.*\[IST0101\]")
    own.sign("shop.example").in_files(mesh.folder / "secrets/default/shop")
    await place.answers(lambda answer: answer.status == 200, host="shop.example", tls=own.client())


async def test_a_certificate_is_rotated_by_saving_it_and_no_request_fails(mesh: Mesh, own: Authority) -> None:
    """One that does not fit its key is never handed out, however long it lies there."""
    await one_server(mesh, own, https("shop.example", credentialName="shop"), folder=True)
    place = (await mesh.gateway(443)).at(443)
    client = own.client()
    await place.answers(lambda answer: answer.status == 200, host="shop.example", tls=client)
    before = await shown(place, client, "shop.example")
    folder, new = mesh.folder / "secrets/default/shop", own.sign("shop.example")
    stop = asyncio.Event()
    failures: list[str] = []

    async def load() -> None:
        while not stop.is_set():
            answer = await place.ask("/", "shop.example", tls=client)
            if answer.status != 200:
                failures.append(answer.error or str(answer.status))

    long_lived = await asyncio.open_connection(place.address, place.port, ssl=client, server_hostname="shop.example")
    tasks = [asyncio.create_task(load()) for _ in range(3)]
    try:
        (folder / "tls.crt").write_text(new.certificate)
        told = await mesh.held("Secret default/shop")
        assert told["file"].endswith("secrets/default/shop")
        assert await shown(place, client, "shop.example") == before
        (folder / "tls.key").write_text(new.key)
        await eventually(lambda: shown(place, client, "shop.example"), lambda serial: serial == new.serial)
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    assert not failures
    reader, writer = long_lived
    writer.write(b"GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200"), "a connection of before goes on"
    writer.close()


async def test_keys_are_nowhere_but_with_the_proxy(single: Mesh, own: Authority) -> None:
    """Neither in what is logged, nor on the console, nor in Envoy's own dump; and not over a channel that others read."""
    certificate = own.sign("shop.example")
    await one_server(single, own, https("shop.example", credentialName="shop"), certificate=certificate, loopback=True)
    proxy = await single.gateway(443)
    await proxy.at(443).answers(lambda answer: answer.status == 200, host="shop.example", tls=own.client())
    single.write("broken.yaml", secret("broken", Signed("nothing", certificate.key)))
    await single.server.says(r"IST0161")
    heart = certificate.key.splitlines()[2]
    in_base64 = b64encode(certificate.key.encode()).decode()[40:100]
    paths = ("/", "/metrics", "/debug/problems", "/debug/proxies")
    seen = [single.server.text, *[(await single.console.ask(path)).body.decode() for path in paths]]
    _, port = proxy.envoy.admin.rsplit(":", 1)
    seen.append((await Place(int(port)).ask("/config_dump")).body.decode())
    assert "kubernetes://shop" in seen[-1]
    for text in seen:
        assert heart not in text
        assert in_base64 not in text

    # The same documents over TCP: the connection's own name is loopback, and nobody said that it may carry keys.
    listening = await single.server.says(r"(?<=, )127\.0\.0\.1:\d+(?=,)")
    other = (await single.gateway(443, name="over-tcp", xds=listening[0])).at(443)
    await single.server.says(r"Secret shop is not sent to proxies .*\[LEG0801\]")
    await refuses(other, "shop.example", own.client())


async def test_keys_go_over_loopback_if_that_is_said(single: Mesh, own: Authority) -> None:
    backend = await single.stand_in("backend")
    single.write("secrets.yaml", secret("shop", own.sign("shop.example")))
    front = gateway(https("shop.example", credentialName="shop"))
    single.write("rules.yaml", front, service("backend", backend), rule("shop", "backend"))
    server = await single.serve("--secrets-on-loopback", xds="127.0.0.1:0")
    listening = await server.says(r"(?<= on )127\.0\.0\.1:\d+(?=,)")
    place = (await single.gateway(443, xds=listening[0])).at(443)
    await place.answers(lambda answer: answer.status == 200, host="shop.example", tls=own.client())


async def test_a_certificate_that_expires_is_told_before_and_after(single: Mesh, own: Authority) -> None:
    await one_server(
        single, own, https("shop.example", credentialName="shop"), certificate=own.sign("shop.example", days=5)
    )
    await single.server.says(r"Secret default/shop .*expires on .*\[LEG0803\]")
    metrics = (await single.console.ask("/metrics")).body.decode()
    (left,) = re.findall(r"^legation_certificate_expiry_seconds (\S+)", metrics, re.MULTILINE)
    assert 4 * 86400 < float(left) <= 5 * 86400
    single.write("secrets.yaml", secret("shop", own.sign("shop.example", days=-1)))
    await single.server.says(r"Secret default/shop .*expired on .*\[LEG0803\]")
    place = (await single.gateway(443)).at(443)
    trusting = own.client()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    await place.answers(lambda answer: answer.status == 200, host="shop.example", tls=trusting)


# --- from clear text ----------------------------------------------------------------------------------------------


async def test_clear_text_is_sent_to_https_also_where_no_rule_is(mesh: Mesh, own: Authority) -> None:
    backend = await mesh.stand_in("backend")
    mesh.write("secrets.yaml", secret("shop", own.sign("shop.example")))
    clear = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "tls": {"httpsRedirect": True}}
    mesh.write(
        "rules.yaml",
        gateway(
            {**clear, "hosts": ["shop.example", "./other.example"]},
            {"port": {"number": 80, "name": "open", "protocol": "HTTP"}, "hosts": ["open.example"]},
            https("shop.example", credentialName="shop"),
        ),
        service("backend", backend), rule("shop", "backend"), rule("open", "backend"),
    )  # fmt: skip
    await mesh.serve()
    proxy = await mesh.gateway(80, 443)
    for host in ("shop.example", "other.example"):
        answer = await proxy.at(80).answers(lambda answer: answer.status == 301, path="/a?b=c", host=host)
        assert answer.headers["location"] == f"https://{host}/a?b=c"
    forged = await proxy.at(80).ask("/", "shop.example", x_forwarded_proto="https")
    assert forged.status == 301, "the edge believes nobody"
    assert (await proxy.at(80).ask("/", "open.example")).workload == "backend"
    assert (await proxy.at(443).ask("/", "shop.example", tls=own.client())).workload == "backend"
    assert (await proxy.at(80).ask("/", "nobody.example")).status == 404


# --- passed on ----------------------------------------------------------------------------------------------------


async def test_tls_is_passed_on_unread_by_the_name_that_is_asked_for(mesh: Mesh, own: Authority) -> None:
    async with contextlib.AsyncExitStack() as stack:
        ports = {}
        for name in ("red", "blue"):
            tls = own.server(own.sign(f"{name}.example"))
            ports[name] = await stack.enter_async_context(speaking(name, tls))
        rules = [{"match": [{"port": 443, "sniHosts": [f"{name}.example"]}], "route": to(name)} for name in ports] + [
            {"match": [{"sniHosts": ["red.example"]}], "route": to("blue")}
        ]
        mesh.write(
            "rules.yaml",
            gateway(https("*.example", mode="PASSTHROUGH", protocol="TLS")),
            passing("names", "tls", *rules, hosts=("*.example",)),
            *(raw_service(name, port, "TLS") for name, port in ports.items()),
        )
        await mesh.serve()
        place = (await mesh.gateway(443)).at(443)
        for name in ports:
            client = own.client()
            wanted = f"{name} heard hello"
            await eventually(lambda: say(place, "hello", client, f"{name}.example"), lambda found: found == wanted)  # noqa: B023
        assert await say(place, "hello", own.client(), "green.example") in ("ConnectionResetError", "SSLEOFError")
        assert await say(place, "hello") in ("nothing", "ConnectionResetError"), "clear text is for nobody"


async def test_tcp_is_passed_on_by_weight_and_the_first_rule(mesh: Mesh) -> None:
    async with speaking("a") as a, speaking("b") as b, speaking("never") as never:
        mesh.write(
            "rules.yaml",
            gateway(tcp(port=9000)),
            passing("shares", "tcp", {"match": [{"port": 9001}], "route": to("never")}, {"route": to(a=3, b=1, never=0)},
                    {"route": to("never")}),
            *(raw_service(name, port) for name, port in (("a", a), ("b", b), ("never", never))),
        )  # fmt: skip
        await mesh.serve()
        place = (await mesh.gateway(9000)).at(9000)
        await eventually(lambda: say(place, "hello"), lambda found: found == "a heard hello")
        tally = Counter([(await say(place, "x")).split()[0] for _ in range(400)])
        assert tally["a"] in binomial(400, 0.75)
        assert tally["a"] + tally["b"] == 400
        # A change of the rule takes no connection with it that is there already.
        reader, writer = await asyncio.open_connection(place.address, place.port)
        mesh.write("more.yaml", raw_service("c", never))
        await mesh.at_rest(1)
        writer.write(b"still\n")
        assert (await reader.read()).decode().endswith("heard still\n")
        writer.close()


async def test_tls_ends_here_and_what_was_in_it_is_passed_on(single: Mesh, own: Authority) -> None:
    async with speaking("database") as port:
        single.write("secrets.yaml", secret("db", own.sign("db.example"), own.certificate))
        single.write(
            "rules.yaml",
            gateway(
                https("db.example", name="db", protocol="TLS", mode="MUTUAL", credentialName="db"),
                https("*.example", name="wild", protocol="TLS", credentialName="db"),
            ),
            passing("db", "tcp", {"route": to("database")}, hosts=("db.example",)),
            raw_service("database", port),
        )
        await single.serve()
        place = (await single.gateway(443)).at(443)
        good = own.client(own.sign("client"))
        await eventually(lambda: say(place, "hi", good, "db.example"), lambda found: found == "database heard hi")
        assert "heard" not in await say(place, "hi", own.client(), "db.example")
        # The rule goes: the name stays with the server that asks for certificates, and is not the wildcard's.
        single.write("rules.yaml", *single_without_rule(port))
        await single.at_rest(1)
        assert "heard" not in await say(place, "hi", own.client(), "db.example")


def single_without_rule(port: int) -> list[Mapping[str, Any]]:
    return [
        gateway(
            https("db.example", name="db", protocol="TLS", mode="MUTUAL", credentialName="db"),
            https("*.example", name="wild", protocol="TLS", credentialName="db"),
        ),
        passing("wild", "tcp", {"route": to("database")}, hosts=("other.example",)),
        raw_service("database", port),
    ]


async def test_the_meshs_own_tls_is_passed_on_to_the_service_that_is_asked_for(single: Mesh, own: Authority) -> None:
    name = "outbound_.80_._.inner.test"
    async with speaking("inner", own.server(own.sign(name))) as port:
        single.write(
            "rules.yaml",
            gateway(https("*.test", port=15443, protocol="TLS", mode="AUTO_PASSTHROUGH")),
            raw_service("inner", port),
        )
        await single.serve()
        place = (await single.gateway(15443)).at(15443)
        mine = own.client(alpn=("istio",))
        await eventually(lambda: say(place, "hello", mine, name), lambda found: found == "inner heard hello")
        assert "heard" not in await say(place, "hello", own.client(), name), "that is not the mesh speaking"
        assert "heard" not in await say(place, "hello", mine, "outbound_.81_._.inner.test")


# --- who gives way ------------------------------------------------------------------------------------------------


async def test_a_name_that_two_claim_costs_neither_the_other_names(single: Mesh, own: Authority) -> None:
    """In Envoy's eyes a name twice would refuse the whole listener."""
    backends = {name: await single.stand_in(name) for name in ("old", "new")}
    single.write("secrets.yaml", secret("both", own.sign("both.example", "new.example")))
    young = gateway(https("./both.example", "new.example", credentialName="both"), name="younger")
    single.write(
        "rules.yaml",
        gateway(https("both.example", credentialName="both")), young,
        *(service(name, port) for name, port in backends.items()),
        rule("both", "old"), {**rule("both", "new", gateway="younger"), "metadata": {"name": "b2"}},
        rule("new", "new", gateway="younger"),
    )  # fmt: skip
    server = await single.serve()
    place = (await single.gateway(443)).at(443)
    await place.answers(lambda answer: answer.workload == "old", host="both.example", tls=own.client())
    assert (await place.ask("/", "new.example", tls=own.client())).workload == "new"
    told = await server.says(r'Gateway default/younger .*"both.example" belongs to Gateway default/front.*\[IST0145\]')
    assert "rules.yaml:1" in told[0], "the other one's place"


# --- one server ---------------------------------------------------------------------------------------------------


async def one_server(
    mesh: Mesh, own: Authority, server: dict[str, Any], *, authorities: str = "", folder: bool = False,
    certificate: Signed | None = None, loopback: bool = False,
) -> None:  # fmt: skip
    """A server for shop.example with the Secret `shop`, its backend and its rule; and `legation serve`."""
    certificate = certificate or own.sign("shop.example")
    backend = await mesh.stand_in("backend")
    if folder:
        certificate.in_files(mesh.folder / "secrets/default/shop")
    else:
        mesh.write("secrets.yaml", secret("shop", certificate, authorities))
    mesh.write("rules.yaml", gateway(server), service("backend", backend), rule("shop", "backend"))
    await mesh.serve(*(("--xds", "127.0.0.1:0") if loopback else ()))
