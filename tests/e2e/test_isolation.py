"""What one mistake costs: seen by the clients of a real Envoy, while files are edited and servers die."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from .mesh import Mesh, document, free_port, gateway, rule, service, subsets, yaml

pytestmark = pytest.mark.envoy


async def services(mesh: Mesh, *names: str) -> None:
    """A file with a service of each name, and a gateway."""
    mesh.write("services.yaml", gateway(), *[service(name, await mesh.stand_in(name)) for name in names])


def broken(text: str) -> tuple[str, int, int]:
    """The text with its first `destination` misspelt, and where that stands."""
    before, word, after = text.partition("destination:")
    assert word
    return f"{before}destnation:{after}", before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1


async def test_a_typo_in_one_document_of_a_file_costs_nothing_but_its_own_change(mesh: Mesh) -> None:
    """The other documents of the file act, the broken one stays as it was, and acts when it is mended."""
    await services(mesh, "one", "two")
    rules = mesh.write("rules.yaml", rule("red", "one"), rule("blue", "one"))
    server = await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("one", host="red.example")
    await place.workload("one", host="blue.example")

    text, line, column = broken(yaml(rule("red", "two")))
    async with place.under_load(host="red.example") as load:
        mesh.write("rules.yaml", text, rule("blue", "two"))
        await place.workload("two", host="blue.example")
        await server.says(rf"{rules}:{line}:{column}: error: VirtualService default/red .*destnation.*destination")
        assert (await place.ask(host="red.example")).workload == "one"

        mesh.write("rules.yaml", rule("red", "two"), rule("blue", "two"))
        await place.workload("two", host="red.example")
    assert not load.failures


@pytest.mark.parametrize(
    "broken_text",
    ["kind: VirtualService\n  metadata: {\n", "\tkind: x\n", "{" * 200 + "\n", "- a\n- list\n", "just words\n"],
    ids=["syntax", "tab", "deep", "list", "words"],
)
async def test_a_part_that_cannot_be_read_holds_what_was_there_and_no_more(single: Mesh, broken_text: str) -> None:
    """Where not even the name can be read, the document that is missing from the file stays in service."""
    await services(single, "one", "two")
    rules = single.write("rules.yaml", rule("red", "one"), rule("blue", "one"))
    server = await single.serve()
    place = (await single.gateway()).at()
    await place.workload("one", host="red.example")

    single.write("rules.yaml", broken_text, rule("blue", "two"))
    await place.workload("two", host="blue.example")
    await server.says(rf"{rules}:\d+:\d+: error: ")
    assert (await place.ask(host="red.example")).workload == "one"


async def test_a_restart_with_a_broken_file_serves_its_last_good_version_to_newcomers(mesh: Mesh) -> None:
    """An Envoy that connects only after the restart gets what was accepted before it; what was never good is left out."""
    await services(mesh, "one", "two")
    mesh.write("rules.yaml", rule("red", "one"), rule("blue", "one"))
    server = await mesh.serve()
    mesh.write("rules.yaml", broken(yaml(rule("red", "two")))[0], rule("blue", "one"))
    await server.says("error: VirtualService default/red ")
    assert await server.interrupt() == 0

    mesh.write("rules.yaml", broken(yaml(rule("red", "two")))[0], rule("blue", "two"))
    mesh.write("new.yaml", broken(yaml(rule("green", "two")))[0])
    server = await mesh.serve()
    await server.says("error: VirtualService default/red ")
    place = (await mesh.gateway()).at()
    await place.workload("two", host="blue.example")
    assert (await place.ask(host="red.example")).workload == "one"
    assert (await place.ask(host="green.example")).status == 404
    assert (await mesh.held("VirtualService default/green"))["code"] == "LEG0504"


async def test_a_document_that_was_never_good_is_left_out_until_it_is(single: Mesh) -> None:
    await services(single, "one")
    text, line, column = broken(yaml(rule("red", "one")))
    rules = single.write("rules.yaml", text, rule("blue", "one"))
    server = await single.serve()
    place = (await single.gateway()).at()
    await server.says(rf"{rules}:{line}:{column}: error: ")
    await place.workload("one", host="blue.example")
    assert (await place.ask(host="red.example")).status == 404

    single.write("rules.yaml", rule("red", "one"), rule("blue", "one"))
    await place.workload("one", host="red.example")


async def test_a_file_of_zero_bytes_is_a_failed_save_and_holds(single: Mesh) -> None:
    """Only a comment, or no file, removes what was in it."""
    await services(single, "one")
    rules = single.write("rules.yaml", rule("red", "one"))
    server = await single.serve()
    place = (await single.gateway()).at()
    await place.workload("one", host="red.example")

    single.write("rules.yaml", "")
    await server.says("VirtualService default/red: .*its file is empty")
    assert (await place.ask(host="red.example")).workload == "one"

    rules.write_text("# nothing any more\n")
    await place.status(404, host="red.example")


async def test_deleting_one_document_or_one_file_is_a_wish(mesh: Mesh) -> None:
    await services(mesh, "one")
    mesh.write("rules.yaml", rule("red", "one"), rule("blue", "one"))
    other = mesh.write("other.yaml", rule("green", "one"))
    await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("one", host="red.example")

    async with place.under_load(host="red.example") as load:
        mesh.write("rules.yaml", rule("red", "one"))
        await place.status(404, host="blue.example")
        other.unlink()
        await place.status(404, host="green.example")
        await load.more(10)
    assert not load.failures


async def test_a_mass_removal_waits_for_two_seconds_of_silence_and_is_announced(single: Mesh) -> None:
    await services(single, "one")
    rules = single.write("rules.yaml", *[rule(f"red-{number}", "one") for number in range(8)])
    server = await single.serve()
    place = (await single.gateway()).at()
    await place.workload("one", host="red-0.example")

    began = time.monotonic()
    rules.unlink()
    await server.says("a change removes 8 of 10 documents; it waits for 2 s of silence")
    await place.status(404, host="red-0.example")
    assert time.monotonic() - began >= 2


async def test_a_mass_removal_that_is_taken_back_never_happens(single: Mesh) -> None:
    """An editor or a checkout that takes everything away and brings it back is not felt."""
    await services(single, "one", "two")
    documents = [rule(f"red-{number}", "one") for number in range(8)]
    rules = single.write("rules.yaml", *documents)
    server = await single.serve()
    place = (await single.gateway()).at()
    await place.workload("one", host="red-0.example")

    async with place.under_load(host="red-0.example") as load:
        rules.unlink()
        await server.says("a change removes 8 of 11 documents")
        single.write("rules.yaml", *documents[:-1], rule("red-7", "two"))
        await place.workload("two", host="red-7.example")
        await server.says("mended: .*a change removes 8 of 11 documents")
    assert not load.failures


async def test_a_pause_of_the_server_is_no_silence(single: Mesh) -> None:
    """It is stopped before the two seconds are over; what was brought back meanwhile counts, though time is up."""
    await services(single, "one")
    documents = [rule(f"red-{number}", "one") for number in range(8)]
    rules = single.write("rules.yaml", *documents)
    server = await single.serve()
    place = (await single.gateway()).at()
    await place.workload("one", host="red-0.example")

    async with place.under_load(host="red-0.example") as load:
        rules.unlink()
        await server.says("a change removes 8 of 10 documents")
        server.process.send_signal(signal.SIGSTOP)
        try:
            single.write("rules.yaml", *documents)
            await asyncio.sleep(2.2)  # that it is held up for so long is what is tried
        finally:
            server.process.send_signal(signal.SIGCONT)
        await server.says("mended: .*a change removes 8 of 10 documents")
        await load.more(20)
    assert not load.failures


async def test_an_emptied_directory_holds_also_over_a_restart_until_it_is_said_to_be_meant(single: Mesh) -> None:
    await services(single, "one")
    single.write("rules.yaml", rule("red", "one"))
    server = await single.serve()
    place = (await single.gateway()).at()
    await place.workload("one", host="red.example")

    async with place.under_load(host="red.example") as load:
        for file in single.folder.iterdir():
            file.unlink()
        await server.says("VirtualService default/red: .*its directory is empty")
        await load.more(10)
        assert await server.interrupt() == 0
        server = await single.serve()
        await server.says("VirtualService default/red: .*its directory is empty")
        newcomer = (await single.gateway(name="newcomer")).at()
        await newcomer.workload("one", host="red.example")
    assert not load.failures

    assert await server.interrupt() == 0
    await single.serve("--allow-empty")
    await newcomer.status(0, host="red.example")


async def test_a_rule_waits_for_the_subset_that_a_typo_keeps_away(mesh: Mesh) -> None:
    """Everything is moved to a subset whose DestinationRule is broken: nothing moves until that is mended."""
    ports = {version: await mesh.stand_in("one", version) for version in ("v1", "v2")}
    mesh.write("services.yaml", gateway(), service("one", **ports))
    mesh.write("subsets.yaml", subsets("one", v1="v1"))
    mesh.write("rules.yaml", rule("red", "one", "v1"))
    server = await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.answers(lambda answer: answer.version == "v1", host="red.example")

    async with place.under_load(host="red.example") as load:
        mesh.write("subsets.yaml", yaml(subsets("one", v1="v1", v2="v2")).replace("labels", "lables", 1))
        mesh.write("rules.yaml", rule("red", "one", "v2"))
        await server.says("VirtualService default/red: .*waits for subset .*one.test v2")
        await load.more(20)
        assert (await place.ask(host="red.example")).version == "v1"

        mesh.write("subsets.yaml", subsets("one", v1="v1", v2="v2"))
        await place.answers(lambda answer: answer.version == "v2", host="red.example")
    assert not load.failures


async def test_what_loses_a_reference_acts_after_a_pause_if_nothing_held_has_it(single: Mesh) -> None:
    """A destination that nobody defines is the user's word, and answered 503."""
    await services(single, "one")
    single.write("rules.yaml", rule("red", "one"))
    server = await single.serve()
    place = (await single.gateway()).at()
    await place.workload("one", host="red.example")

    single.write("rules.yaml", rule("red", "nowhere"))
    await place.status(503, host="red.example")
    await server.says("warning: VirtualService default/red .*no service has the host nowhere.test.*IST0101")


@pytest.mark.parametrize("socket", ["unix", "tcp"])
async def test_traffic_outlives_a_server_that_is_killed_and_follows_the_next(mesh: Mesh, socket: str) -> None:
    xds = f"127.0.0.1:{free_port()}" if socket == "tcp" else ""
    await services(mesh, "one", "two")
    mesh.write("rules.yaml", rule("red", "one"))
    server = await mesh.serve(xds=xds)
    place = (await mesh.gateway(xds=xds)).at()
    await place.workload("one", host="red.example")

    async with place.under_load(host="red.example") as load:
        await server.kill()
        await load.more(20)
        await mesh.serve(xds=xds)
        await mesh.at_rest(1)
        mesh.write("rules.yaml", rule("red", "two"))
        await place.workload("two", host="red.example")
    assert not load.failures


async def test_an_edit_while_the_server_is_down_fails_no_request_when_it_is_back(mesh: Mesh) -> None:
    """The proxy comes back holding a cluster that the new configuration no longer has, and routes that still name it."""
    await services(mesh, "one", "two")
    mesh.write("rules.yaml", rule("red", "one"))
    server = await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("one", host="red.example")

    async with place.under_load(host="red.example") as load:
        await server.kill()
        mesh.write("rules.yaml", rule("red", "two"))
        await mesh.serve()
        await place.workload("two", host="red.example")
        await load.more(20)
    assert not load.failures


async def test_what_is_still_in_use_when_the_server_dies_is_not_taken_away_by_the_next(mesh: Mesh) -> None:
    """The server is killed in the middle of a change, and the next one starts with another: the proxy may have both."""
    await services(mesh, "one", "two", "three")
    mesh.write("rules.yaml", rule("red", "one"))
    server = await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("one", host="red.example")

    async with place.under_load(host="red.example") as load:
        for name in ("two", "three", "one"):
            mesh.write("rules.yaml", rule("red", name))
            await place.workload(name, host="red.example")
            await server.kill()
            mesh.write("rules.yaml", rule("red", "one"))
            server = await mesh.serve()
            await place.workload("one", host="red.example")
    assert not load.failures


async def test_the_same_document_in_two_files_is_told_and_the_one_in_service_stays(single: Mesh) -> None:
    await services(single, "one", "two")
    rules = single.write("rules.yaml", rule("red", "one"))
    server = await single.serve()
    place = (await single.gateway()).at()
    await place.workload("one", host="red.example")

    other = single.write("another.yaml", rule("red", "two"))
    await server.says(rf"{other}:\d+:\d+: error: VirtualService default/red .*also in {rules}:1")
    assert (await place.ask(host="red.example")).workload == "one"
    rules.unlink()
    await place.workload("two", host="red.example")


async def test_what_protects_and_is_broken_keeps_the_server_from_starting(single: Mesh) -> None:
    """Without an accepted state nothing may be open that somebody meant to close; afterwards it starts."""
    await services(single, "one")
    single.write("rules.yaml", rule("red", "one"))
    policy = document("AuthorizationPolicy", "closed", {"acton": "DENY"})
    policy["apiVersion"] = "security.istio.io/v1"
    file = single.write("policy.yaml", policy)
    server = await single.start()
    assert await server.ended() == 1
    assert f"{file}:" in server.text
    assert "not started" in server.text
    file.unlink()
    await single.serve()


async def test_a_second_server_on_the_same_state_ends_with_a_hint(single: Mesh) -> None:
    await services(single, "one")
    await single.serve()
    second = await single.start(xds=f"unix:{single.socket}-2")
    assert await second.ended() == 1
    assert "--state-dir" in second.text
    assert "Traceback" not in second.text
