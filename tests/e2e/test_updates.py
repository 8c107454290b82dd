"""A saved file acts in the data plane, however it was saved, and no request is lost on the way."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .mesh import Mesh, Program, ask, eventually, free_port, gateway, rule, service, subsets, yaml

pytestmark = pytest.mark.envoy


# --- ways to save -------------------------------------------------------------------------------------------------


def in_place(path: Path, text: str) -> None:
    """nano, a shell's `>`."""
    path.write_text(text)


def rename_over(path: Path, text: str) -> None:
    """Most IDEs, `sed -i`, kubectl cp."""
    beside = path.with_name("sedXyz12")
    beside.write_text(text)
    beside.replace(path)


def backup_and_new(path: Path, text: str) -> None:
    """Vim with a backup: the old file moves aside, a new one is written, the old one goes; swap files around it."""
    swap = path.with_name(f".{path.name}.swp")
    swap.write_bytes(b"b0VIM 9.0\0\0")
    path.with_name("4913").touch()
    path.with_name("4913").unlink()
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    path.write_text(text)
    backup.unlink()
    swap.unlink()


def copy_and_truncate(path: Path, text: str) -> None:
    """Emacs: a lock, a copy that stays as `~`, then the same inode anew."""
    lock = path.with_name(f".#{path.name}")
    lock.symlink_to("me@here.1:2")
    shutil.copy(path, path.with_name(f"{path.name}~"))
    with path.open("r+") as file:
        file.truncate()
        file.write(text)
    lock.unlink()


def piece_by_piece(path: Path, text: str) -> None:
    """A slow writer, which closes only at the end."""
    with path.open("w") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def moved_in(path: Path, text: str) -> None:
    """From outside the folder."""
    outside = path.parent.with_name("outside.yaml")
    outside.write_text(text)
    outside.replace(path)


def hard_link(path: Path, text: str) -> None:
    """Deleted, and linked to again."""
    outside = path.parent.with_name("outside.yaml")
    outside.write_text(text)
    path.unlink()
    path.hardlink_to(outside)
    outside.unlink()


WAYS = (in_place, rename_over, backup_and_new, copy_and_truncate, piece_by_piece, moved_in, hard_link)


async def test_every_way_of_saving_a_file_acts(mesh: Mesh) -> None:
    mesh.write("services.yaml", gateway(), *[service(name, await mesh.stand_in(name)) for name in ("one", "two")])
    path = mesh.write("rules.yaml", rule("red", "one"))
    server = await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("one", host="red.example")
    for number, save in enumerate(WAYS):
        wanted = ("two", "one")[number % 2]
        save(path, yaml(rule("red", wanted)))
        await place.workload(wanted, host="red.example")
    await mesh.at_rest(1)
    assert not [problem for problem in (await mesh.problems())["problems"] if problem["severity"] == "error"]
    assert "error" not in server.text


async def test_a_mounted_config_map_acts_as_a_whole(mesh: Mesh) -> None:
    """Kubernetes' way: the files are links into `..data`, which is swapped for all of them at once."""
    one, two = await mesh.stand_in("one"), await mesh.stand_in("two")

    def publish(number: int, *services: dict[str, Any], to: str) -> None:
        folder = mesh.folder / f"..2026_{number}"
        folder.mkdir()
        (folder / "services.yaml").write_text("---\n".join(map(yaml, [gateway(), *services])))
        (folder / "rules.yaml").write_text(yaml(rule("red", to)))
        link = mesh.folder / "..data_tmp"
        link.symlink_to(folder.name)
        link.replace(mesh.folder / "..data")
        for old in mesh.folder.glob("..2026_*"):
            if old != folder:
                shutil.rmtree(old)

    publish(0, service("one", one), to="one")
    for name in ("services.yaml", "rules.yaml"):
        (mesh.folder / name).symlink_to(f"..data/{name}")
    await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("one", host="red.example")
    async with place.under_load(host="red.example") as load:
        publish(1, service("two", two), to="two")
        await place.workload("two", host="red.example")
        publish(2, service("one", one), to="one")
        await place.workload("one", host="red.example")
    assert not load.failures


# --- make before break --------------------------------------------------------------------------------------------


def in_one_file(mesh: Mesh, *documents: dict[str, Any]) -> None:
    mesh.write("all.yaml", *documents)


def rule_first(mesh: Mesh, of_rule: dict[str, Any], of_subsets: dict[str, Any]) -> None:
    """Two files, one right after the other: the rule names what is not there yet, and waits for it."""
    names = ("rules.yaml", "subsets.yaml")
    for name, content in zip(names, (of_rule, of_subsets), strict=True):
        (mesh.folder / f".{name}").write_text(yaml(content))
    began = time.monotonic()
    for name in names:
        (mesh.folder / f".{name}").replace(mesh.folder / name)
    if time.monotonic() - began > 0.05:
        pytest.skip("this machine took a break between the two, longer than a rule waits")


def folder_swapped(mesh: Mesh, of_rule: dict[str, Any], of_subsets: dict[str, Any]) -> None:
    """Two files in a folder that is replaced as a whole."""
    link, beside = mesh.folder / "rules", mesh.folder / ".link"
    before = link.resolve() if link.is_symlink() else None
    folder = mesh.folder / f".{of_subsets['spec']['subsets'][0]['name']}"
    folder.mkdir()
    (folder / "rules.yaml").write_text(yaml(of_rule))
    (folder / "subsets.yaml").write_text(yaml(of_subsets))
    beside.symlink_to(folder.name)
    beside.replace(link)
    if before is not None:
        shutil.rmtree(before)


@pytest.mark.parametrize("save", [in_one_file, rule_first, folder_swapped])
async def test_thirty_moves_between_subsets_that_come_and_go_lose_no_request(
    mesh: Mesh, save: Callable[..., None]
) -> None:
    """Each move brings a cluster, moves all traffic to it and takes the one before away."""
    versions = ("v1", "v2", "v3")
    ports = {version: await mesh.stand_in("one", version) for version in versions}
    mesh.write("services.yaml", gateway(), service("one", **ports))

    def move(number: int) -> str:
        version = versions[number % 3]
        save(mesh, rule("red", "one", f"s{number}"), subsets("one", **{f"s{number}": version}))
        return version

    move(0)
    await mesh.serve()
    proxy = await mesh.gateway()
    place = proxy.at()
    await place.answers(lambda answer: answer.version == "v1", host="red.example")
    async with place.under_load(host="red.example") as load:
        for number in range(1, 31):
            wanted = move(number)
            await place.answers(lambda answer, wanted=wanted: answer.version == wanted, host="red.example")
    assert not load.failures
    assert load.count > 100

    async def subset_clusters() -> list[str]:
        _, text = await proxy.envoy.ask("/clusters?format=json")
        names = [cluster["name"] for cluster in json.loads(text)["cluster_statuses"]]
        return [name for name in names if "one.test" in name]

    await eventually(subset_clusters, lambda found: found == ["outbound|80|s30|one.test"])


async def test_a_storm_of_saves_ends_where_the_last_one_points(mesh: Mesh) -> None:
    """A hundred versions as fast as they can be written: nothing is lost, and the last is what is served."""
    names = ("one", "two", "three")
    mesh.write("services.yaml", gateway(), *[service(name, await mesh.stand_in(name)) for name in names])
    mesh.write("rules.yaml", rule("red", "one"))
    await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("one", host="red.example")
    async with place.under_load(host="red.example") as load:
        for number in range(100):
            mesh.write("rules.yaml", rule("red", names[number % 2]))
            await asyncio.sleep(0)
        mesh.write("rules.yaml", rule("red", "three"))
        await place.workload("three", host="red.example")
        await mesh.at_rest(1)
        assert (await place.ask(host="red.example")).workload == "three"
    assert not load.failures


async def test_services_come_and_go_with_their_rules_and_lose_no_request(mesh: Mesh) -> None:
    """The service itself is replaced, under the same name at another port and under another name."""
    ports = [await mesh.stand_in(f"one-{number}") for number in range(2)]
    mesh.write("all.yaml", gateway(), service("a0", ports[0]), rule("red", "a0"))
    await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("one-0", host="red.example")
    async with place.under_load(host="red.example") as load:
        for number in range(1, 10):
            name = f"a{number // 2}"  # every other time only its endpoint moves
            mesh.write("all.yaml", gateway(), service(name, ports[number % 2]), rule("red", name))
            await place.workload(f"one-{number % 2}", host="red.example")
    assert not load.failures


# --- listeners ----------------------------------------------------------------------------------------------------


async def test_gateway_servers_come_and_go_beside_traffic(mesh: Mesh) -> None:
    """A port that is added is opened, one that is removed is closed, and the others notice nothing."""
    mesh.write("services.yaml", service("one", await mesh.stand_in("one")), rule("red", "one"))
    mesh.write("gateway.yaml", gateway(80))
    await mesh.serve()
    proxy = await mesh.gateway(80, 81, 82)
    await proxy.at(80).workload("one", host="red.example")
    assert (await proxy.at(81).ask(host="red.example")).status == 0
    async with proxy.at(80).under_load(host="red.example") as load:
        for ports in ((80, 81), (80, 82), (80,), (80, 81, 82), (80,)):
            mesh.write("gateway.yaml", gateway(*ports))
            for port in (81, 82):
                if port in ports:
                    await proxy.at(port).workload("one", host="red.example")
                else:
                    await proxy.at(port).status(0, host="red.example")
        await load.more(10)
    assert not load.failures


async def test_the_hosts_of_a_gateway_are_narrowed_and_widened(mesh: Mesh) -> None:
    mesh.write("services.yaml", service("one", await mesh.stand_in("one")), rule("red", "one"), rule("blue", "one"))
    mesh.write("gateway.yaml", gateway(hosts=["*.example"]))
    await mesh.serve()
    place = (await mesh.gateway()).at()
    await place.workload("one", host="blue.example")
    async with place.under_load(host="red.example") as load:
        mesh.write("gateway.yaml", gateway(hosts=["red.example"]))
        await place.status(404, host="blue.example")
        mesh.write("gateway.yaml", gateway(hosts=["red.example", "blue.example"]))
        await place.workload("one", host="blue.example")
    assert not load.failures


async def test_a_sidecar_follows_services_that_come_and_go(mesh: Mesh) -> None:
    """Beside a caller every port of the mesh is a listener."""
    one = service("one", await mesh.stand_in("one"))
    two = service("two", await mesh.stand_in("two"))
    two["spec"]["ports"][0]["number"] = 81
    mesh.write("one.yaml", one)
    await mesh.serve()
    proxy = await mesh.sidecar(80, 81)
    await proxy.at(80).workload("one", host="one.test")
    async with proxy.at(80).under_load(host="one.test") as load:
        path = mesh.write("two.yaml", two)
        await proxy.at(81).workload("two", host="two.test")
        path.unlink()
        await proxy.at(81).status(0, host="two.test")
    assert not load.failures


# --- the console --------------------------------------------------------------------------------------------------


async def test_at_rest_every_proxy_has_what_it_was_sent(mesh: Mesh) -> None:
    """/debug/proxies: what was sent is what was acknowledged, for each type; a proxy that goes is no longer listed."""
    mesh.write("all.yaml", gateway(), service("one", await mesh.stand_in("one")), rule("red", "one"))
    await mesh.serve()
    front = await mesh.gateway()
    await mesh.sidecar(80, namespace="other")
    found = await mesh.at_rest(2)
    assert {(proxy["role"], proxy["namespace"]) for proxy in found} == {("gateway", "default"), ("sidecar", "other")}
    for proxy in found:
        assert proxy["variant"] == mesh.variant
        assert {"cds", "eds", "lds", "rds"} <= proxy["types"].keys()
        for status in proxy["types"].values():
            assert status["sent"] == status["acked"] != ""
            assert not status["nacked"]
    before = {proxy["id"]: proxy["types"]["rds"]["acked"] for proxy in found}

    mesh.write("more.yaml", rule("blue", "one"))
    await front.at().workload("one", host="blue.example")
    after = {proxy["id"]: proxy["types"]["rds"]["acked"] for proxy in await mesh.at_rest(2)}
    changed = {name for name in after if after[name] != before[name]}
    assert {name.partition("~")[0] for name in changed} == {"router"}, "a rule for a gateway concerns no sidecar"

    await front.envoy.stop()
    (left,) = await mesh.at_rest(1)
    assert left["role"] == "sidecar"


async def test_the_server_is_not_ready_before_its_first_load_and_envoys_wait_for_it(mesh: Mesh) -> None:
    """Standard input as a source ends when we say so: until then there is nothing to serve, and nobody gets a part."""
    text = "---\n".join(map(yaml, [gateway(), service("one", await mesh.stand_in("one")), rule("red", "one")]))
    port = free_port()
    server = await mesh.start("-", "--http", f"127.0.0.1:{port}", stdin=asyncio.subprocess.PIPE)
    mesh.write("blue.yaml", rule("blue", "one"))
    await eventually(lambda: ask(port, "/readyz"), lambda answer: answer.status == 503)
    assert (await ask(port, "/healthz")).status == 200
    proxy = await mesh.gateway()

    async def connected() -> bool:
        _, stats = await proxy.envoy.ask("/stats?filter=control_plane.connected_state")
        return stats.strip() == "control_plane.connected_state: 1"

    await eventually(connected, bool)
    assert (await proxy.envoy.ask("/ready"))[0] == 503
    assert server.process.stdin is not None
    server.process.stdin.write(text.encode())
    server.process.stdin.close()
    await eventually(lambda: ask(port, "/readyz"), lambda answer: answer.status == 200)
    await proxy.at().workload("one", host="red.example")
    await proxy.at().workload("one", host="blue.example")


@pytest.mark.parametrize("command", ["serve", "run"])
async def test_a_program_that_is_still_reading_can_be_interrupted(command: str) -> None:
    """Standard input that never ends keeps nobody waiting."""
    port = free_port()
    options = {"serve": ("--xds", "127.0.0.1:0"), "run": ()}[command]
    arguments = (command, "-", "--http", f"127.0.0.1:{port}", "--state-dir", "none", *options)
    program = await Program.start(*arguments, stdin=asyncio.subprocess.PIPE)
    try:
        await eventually(lambda: ask(port, "/readyz"), lambda answer: answer.status == 503)
        assert await program.interrupt() == 0
        assert "Traceback" not in program.text
        assert "Fatal" not in program.text
    finally:
        await program.kill()


async def test_the_metrics_parse_and_count(mesh: Mesh) -> None:
    mesh.write("all.yaml", gateway(), service("one", await mesh.stand_in("one")), rule("red", "one"))
    await mesh.serve()
    await mesh.gateway()
    await mesh.at_rest(1)

    async def samples() -> dict[str, float]:
        answer = await mesh.console.ask("/metrics")
        assert answer.status == 200
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(answer.body.decode()):
            assert family.documentation, family.name
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0) + sample.value
        return found

    found = await eventually(samples, lambda found: found.get("legation_documents") == 3)
    assert found["legation_acks_total"] >= 4
    assert found.get("legation_nacks_total", 0) == 0
    mesh.write(
        "broken.yaml", "kind: VirtualService\nmetadata: {name: x}\napiVersion: networking.istio.io/v1\nspek: {}\n"
    )
    await eventually(samples, lambda found: found.get("legation_problems", 0) >= 1)
