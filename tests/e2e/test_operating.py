"""What whoever operates a server has of it: metrics that move, a log that machines read."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
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


class Collector:
    """An OTLP collector that keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.news = asyncio.Event()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(re.findall(r"content-length: (\d+)", head)[0])
        body = await reader.readexactly(length)
        assert head.startswith("post /v1/traces ")
        for resource in json.loads(body)["resourceSpans"]:
            self.spans += [span for scope in resource["scopeSpans"] for span in scope["spans"]]
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
        )
        await writer.drain()
        writer.close()
        self.news.set()


@pytest.mark.envoy
async def test_a_change_is_a_trace(single: Mesh) -> None:
    """From the file's event over what was decided and rendered to what each proxy took, in one tree."""
    pytest.importorskip("opentelemetry.sdk")
    collector = Collector()
    async with await asyncio.start_server(collector.take, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        await _served(single, "--otlp", f"http://127.0.0.1:{port}")
        edge, other = await single.gateway(name="edge"), await single.gateway(name="other")
        await single.at_rest(2)
        single.write("rule.yaml", rule("red", "two"))
        for proxy in (edge, other):
            await proxy.at().workload("two", host="red.example")
        async with asyncio.timeout(20):
            while not collector.spans:
                await collector.news.wait()
        await single.server.stop()
    (whole,) = (span for span in collector.spans if span["name"] == "change")
    inside = [span for span in collector.spans if span is not whole]
    assert sorted(span["name"] for span in inside) == ["decide", "render and send", "take", "take"]
    assert {span["parentSpanId"] for span in inside} == {whole["spanId"]}
    assert {span["traceId"] for span in inside} == {whole["traceId"]}
    for span in inside:
        assert int(whole["startTimeUnixNano"]) <= int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
        assert int(span["endTimeUnixNano"]) <= int(whole["endTimeUnixNano"])
    told = {one["key"]: one["value"] for one in whole["attributes"]}
    assert int(told["legation.proxies"]["intValue"]) == 2
    assert int(told["legation.unanswered"]["intValue"]) == 0


async def test_traces_need_the_extra_and_a_url(single: Mesh) -> None:
    """Wrong usage, in words, before anything starts."""
    done = await (await single.start("--otlp", "nowhere")).ended()
    assert done == 2
    hidden = "import sys; sys.modules['opentelemetry.sdk'] = None; from legation.cli import main; main(sys.argv[1:])"
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", hidden, "serve", str(single.folder), "--otlp", "http://127.0.0.1:1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await program.communicate()
    assert (program.returncode, b"legation[otel]" in said, b"Traceback" in said) == (2, True, False)
