"""What Envoy refuses although we let it pass: it costs its own document, and nobody else anything.

Our checks leave little to refuse, so a hook spoils every virtual host whose rule sets the response header `x-spoil`.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

from . import mesh as harness
from .mesh import Mesh, eventually, gateway, rule, service

pytestmark = pytest.mark.envoy

HOOK = """
def spoil(scope, resources):
    for table in resources.routes.values():
        for host in table.virtual_hosts:
            for route in host.routes:
                if any(option.header.key == "x-spoil" for option in route.response_headers_to_add):
                    host.domains = [*host.domains, host.domains[0]]
                    break
"""


@pytest.fixture
def spoiled(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> Mesh:
    """A mesh to be served with `--hooks spoiler:spoil`."""
    (mesh.folder.parent / "spoiler.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", str(mesh.folder.parent))
    return mesh


def saying(document: dict[str, Any], **headers: str) -> dict[str, Any]:
    """A rule whose answers have these headers."""
    document["spec"]["http"][0]["headers"] = {
        "response": {"set": {f"x-{name}": value for name, value in headers.items()}}
    }
    return document


def is_round(value: object) -> Any:
    return lambda answer: answer.status == 200 and answer.headers.get("x-round") == str(value)


def refused(proxy: dict[str, Any]) -> dict[str, str]:
    """The listeners that it refuses, with its words."""
    return dict(proxy["types"].get("lds", {}).get("refused", {}))


async def test_a_refused_document_goes_back_to_what_was_taken_and_the_rest_goes_on(spoiled: Mesh) -> None:
    mesh = spoiled
    port = await mesh.stand_in("one")
    mesh.write("services.yaml", gateway(), service("one", port))
    mesh.write("blue.yaml", rule("blue", "one"))
    red = mesh.write("red.yaml", saying(rule("red", "one"), round="1"))
    server = await mesh.serve("--hooks", "spoiler:spoil")
    place = (await mesh.gateway()).at()
    await place.answers(is_round(1), host="red.example")

    async with place.under_load(host="red.example") as load:
        mesh.write("red.yaml", "# moved", saying(rule("red", "one"), round="2", spoil="yes"))
        held = await mesh.held("VirtualService default/red")
        assert (held["code"], held["file"], held["line"], held["severity"]) == ("LEG0506", str(red), 2, "error")
        assert "Envoy refuses the route table http." in held["message"]
        assert "Only unique values for domains are permitted" in held["message"]
        assert f"(from {red}:1) is in service" in held["message"]
        assert is_round(1)(await place.ask(host="red.example"))
        await mesh.at_rest(1)
        assert await server.interrupt() == 0

        server = await mesh.serve("--hooks", "spoiler:spoil")
        assert (await mesh.held("VirtualService default/red"))["code"] == "LEG0506"
        await mesh.at_rest(1)
        assert not any(" refuses RDS " in line for line in server.lines), "it was sent again"
        newcomer = (await mesh.gateway(name="newcomer")).at()
        await newcomer.answers(is_round(1), host="red.example")

        mesh.write("blue.yaml", saying(rule("blue", "one"), round="2"))
        await place.answers(is_round(2), host="blue.example")
        await place.answers(is_round(1), host="red.example")
        mesh.write("red.yaml", saying(rule("red", "one"), round="3"))
        await place.answers(is_round(3), host="red.example")
        await server.says("mended: .*Envoy refuses the route table")
    assert not load.failures


async def test_a_new_document_that_is_refused_is_left_out(spoiled: Mesh) -> None:
    mesh = spoiled
    mesh.write("services.yaml", gateway(), service("one", await mesh.stand_in("one")))
    mesh.write("blue.yaml", rule("blue", "one"))
    await mesh.serve("--hooks", "spoiler:spoil")
    place = (await mesh.gateway()).at()
    await place.workload("one", host="blue.example")

    async with place.under_load(host="blue.example") as load:
        mesh.write("red.yaml", saying(rule("red", "one"), spoil="yes"))
        held = await mesh.held("VirtualService default/red")
        assert held["message"].endswith("it is left out")
        mesh.write("green.yaml", rule("green", "one"))
        await place.workload("one", host="green.example")
        assert (await place.ask(host="red.example")).status == 404
        mesh.write("red.yaml", rule("red", "one"))
        await place.workload("one", host="red.example")
    assert not load.failures


async def test_of_six_changes_in_one_the_bad_one_costs_nobody_else(spoiled: Mesh) -> None:
    """Thirty times: each of six tables changes, and one of them is refused, another one each time."""
    mesh = spoiled
    ports = [8080 + number for number in range(6)]
    fronts = [gateway(port, name=f"front-{port}") for port in ports]
    mesh.write("services.yaml", *fronts, service("one", await mesh.stand_in("one")))

    def rules(turn: int, bad: int) -> list[dict[str, Any]]:
        return [
            saying(
                rule("red", "one", gateway=f"front-{port}"),
                round=str(turn),
                **({"spoil": "yes"} if port == bad else {}),
            )
            | {"metadata": {"name": f"red-{port}", "namespace": "default"}}
            for port in ports
        ]

    mesh.write("rules.yaml", *rules(0, 0))
    await mesh.serve("--hooks", "spoiler:spoil")
    proxy = await mesh.gateway(*ports)
    for port in ports:
        await proxy.at(port).answers(is_round(0), host="red.example")
    before = dict.fromkeys(ports, 0)
    for turn in range(1, 31):
        bad = ports[turn % 6]
        mesh.write("rules.yaml", *rules(turn, bad))
        for port in ports:
            if port != bad:
                await proxy.at(port).answers(is_round(turn), host="red.example")
                before[port] = turn
        await mesh.held(f"VirtualService default/red-{bad}")
        assert is_round(before[bad])(await proxy.at(bad).ask(host="red.example"))


async def test_a_port_in_use_is_one_machines_trouble_and_passes(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is held back for it; when the port is free the listener opens, without anybody's doing."""
    mesh.write("services.yaml", gateway(), service("one", await mesh.stand_in("one")), rule("red", "one"))
    await mesh.serve()
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        with monkeypatch.context() as patch:
            patch.setattr(harness, "free_port", lambda _: taken.getsockname()[1])
            proxy = await mesh.gateway()
        found = await eventually(mesh.proxies, lambda them: any(refused(one) for one in them))
        (words,) = refused(found[0]).values()
        assert "Address already in use" in words
        assert (await mesh.problems())["held"] == []
    await proxy.at().workload("one", host="red.example")
    await mesh.at_rest(1)
