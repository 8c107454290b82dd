"""What whoever operates a server has of it: metrics that move, a log that machines read."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .mesh import Mesh, Program, eventually, gateway, rule, service, yaml


async def samples(mesh: Mesh) -> dict[tuple[str, ...], float]:
    """What /metrics says: name and labels' values → value."""
    text = (await mesh.console.ask("/metrics")).body.decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def events(program: Program, event: str) -> list[dict[str, Any]]:
    """What was logged of one kind. Every line must be an object."""
    told = [json.loads(line) for line in program.lines if not line.startswith("serving ")]
    return [one for one in told if one["event"] == event]


async def _served(mesh: Mesh, *arguments: str) -> None:
    mesh.write(
        "mesh.yaml", gateway(), service("one", await mesh.stand_in("one")), service("two", await mesh.stand_in("two"))
    )
    mesh.write("rule.yaml", rule("red", "one"))
    await mesh.serve(*arguments)


@pytest.mark.envoy
async def test_a_change_is_measured_from_the_file_to_the_last_acknowledgement(mesh: Mesh) -> None:
    """Once for each client, and once when the last one has it; nothing is labelled by who it was."""
    await _served(mesh)
    edge, other = await mesh.gateway(name="edge"), await mesh.gateway(name="other")
    await mesh.at_rest(2)
    before = await samples(mesh)
    assert before["legation_convergence_seconds_count",] == 0
    assert before["legation_revisions_total",] == 1
    mesh.write("rule.yaml", rule("red", "two"))
    for proxy in (edge, other):
        await proxy.at().workload("two", host="red.example")
    now = await eventually(lambda: samples(mesh), lambda found: found["legation_convergence_seconds_count",])
    assert now["legation_convergence_seconds_count",] == 1
    assert now["legation_delivery_seconds_count",] == 2
    assert 0 < now["legation_delivery_seconds_sum",] <= 2 * now["legation_convergence_seconds_sum",]
    assert now["legation_first_request_wait_seconds_count",] == 2
    assert now["legation_revisions_total",] == 2
    for short in ("cds", "lds", "rds"):
        assert now["legation_acks_total", short] == now["legation_ack_latency_seconds_count", short] >= 2
        assert now["legation_pushes_total", short] >= 2
        assert now["legation_send_bytes_total", short] > 100
    assert not [key for key in now if "edge" in " ".join(key)]
    assert await eventually(lambda: samples(mesh), lambda found: found["legation_event_loop_lag_seconds_count",])


@pytest.mark.envoy
async def test_every_line_of_the_log_is_an_object_with_stable_keys(mesh: Mesh) -> None:
    """Who came, what changed, what is wrong, who refuses what."""
    await _served(mesh, "--log-format", "json", "--log-level", "debug")
    edge = await mesh.gateway(80, 81, name="edge")
    await mesh.at_rest(1)
    (connected,) = events(mesh.server, "connected")
    assert connected["proxy"].startswith("router~")
    assert (connected["role"], connected["namespace"], connected["level"]) == ("gateway", "default", "info")
    sent, taken = events(mesh.server, "sent"), events(mesh.server, "ack")
    assert {one["type"] for one in taken} >= {"cds", "lds", "rds"}
    assert {one["nonce"] for one in taken} <= {one["nonce"] for one in sent}
    assert all(one["bytes"] > 0 and one["proxy"] == connected["proxy"] for one in sent)

    since = len(mesh.server.lines)
    mesh.write("rule.yaml", yaml(rule("red", "two")).replace("destination", "destnation"))
    await mesh.server.says('"event": "problem"', since)
    problem = events(mesh.server, "problem")[-1]["problem"]
    assert {"severity", "code", "file", "line", "object", "message"} <= problem.keys()
    since = len(mesh.server.lines)
    mesh.write("rule.yaml", rule("red", "two"))
    await mesh.server.says('"event": "revision"', since)
    await mesh.server.says('"event": "mended"', since)
    revised = events(mesh.server, "revision")[-1]
    assert len(revised["revision"]) == 16
    assert revised["seconds"] > 0

    with socket.create_server(("0.0.0.0", edge.at(81).port)):
        since = len(mesh.server.lines)
        mesh.write("mine.yaml", gateway(81, name="mine"))
        await mesh.server.says('"event": "nack"', since)
    nack = events(mesh.server, "nack")[0]
    assert (nack["type"], nack["level"], nack["proxy"]) == ("lds", "error", connected["proxy"])
    assert nack["nonce"]
    assert "Address already in use" in nack["error"]
    assert [(one["object"], one["file"]) for one in nack["documents"]] == [
        ("Gateway default/mine", str(mesh.folder / "mine.yaml"))
    ]


async def test_the_level_says_from_where_on(single: Mesh) -> None:
    """In both forms; another word is wrong usage."""
    single.write("bad.yaml", yaml(rule("red", "one")).replace("destination", "destnation"))
    await single.serve("--log-level", "error")
    await single.server.says(" ERROR .*bad.yaml:")
    assert not [line for line in single.server.lines if " INFO " in line or " WARNING " in line]
    for wrong in (("--log-level", "loud"), ("--log-format", "xml")):
        assert await (await single.start(*wrong)).ended() == 2


async def test_run_logs_as_objects_too(single: Mesh) -> None:
    """What is wrong in the files is an event like any other."""
    single.write("bad.yaml", yaml(rule("red", "one")).replace("destination", "destnation"))
    arguments = ("--http", "127.0.0.1:0", "--state-dir", "none", "--log-format", "json")
    program = await Program.start("run", str(single.folder), *arguments)
    try:
        await program.says(r'^\{"time": .*"level": "error", "event": "problem"')
    finally:
        await program.stop()
