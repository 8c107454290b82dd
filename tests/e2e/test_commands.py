"""The command line as a script or a person meets it: real processes, exit codes, what is printed where."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from click.testing import CliRunner, Result
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf import json_format
from legation import pipeline  # noqa: F401 - makes every message known that is inside an Any
from legation.cli import main
from legation.local.envoy import find

from .mesh import CONFIGS, Program, all_gone, clean_environment, descendants, eventually, free_port, mesh, rule, yaml

STORIES = sorted(path.name for path in CONFIGS.iterdir() if path.is_dir())
COMMANDS = ("bootstrap", "certs", "render", "run", "schema", "serve", "status", "validate", "wait")

TYPO = yaml(rule("red", "one")).replace("destination", "destnation")
WARNED = yaml(rule("red", "nowhere"))
"""Its host and its gateway are unknown, which is no error."""


def legation(*arguments: str | Path, stdin: str | bytes = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it to its end; a traceback is never right, whatever was asked."""
    done = subprocess.run(
        [sys.executable, "-m", "legation", *map(str, arguments)],
        input=stdin.encode() if isinstance(stdin, str) else stdin, capture_output=True, check=False, timeout=60,
        env={**clean_environment(), **environment},
    )  # fmt: skip
    said = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in said.stderr + said.stdout, said.stderr
    assert said.returncode in (0, 1, 2), said
    return said


def asked(*arguments: str | Path) -> Result:
    """The same within this process, for what is refused or answered at once; what it raises is raised here."""
    return CliRunner(env={name: None for name in os.environ if name.startswith("LEGATION_")}).invoke(
        main, list(map(str, arguments)), catch_exceptions=False, prog_name="legation"
    )


def validated(*arguments: str | Path, stdin: str | bytes = "") -> dict[str, Any]:
    """The JSON report."""
    return dict(json.loads(legation("validate", "-o", "json", *arguments, stdin=stdin).stdout))


# --- validate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", STORIES)
def test_there_is_nothing_to_say_about_a_story(story: str) -> None:
    """But that keys are missing: they are in no repository, and `run` makes some."""
    done = asked("validate", "-o", "json", CONFIGS / story)
    assert done.exit_code == 0, done.stdout
    report = json.loads(done.stdout)
    missing = [problem for problem in report["problems"] if "there is no Secret" in problem["message"]]
    report["problems"] = [problem for problem in report["problems"] if problem not in missing]
    assert not missing or any("credentialName" in path.read_text() for path in (CONFIGS / story).rglob("*.yaml"))
    texts = [path.read_text() for path in (CONFIGS / story).rglob("*.yaml")]
    documents = [each for text in texts for each in pyyaml.safe_load_all(text) if each]
    assert report == {"problems": [], "documents": len(documents)}
    assert not done.stderr


def test_the_exit_code_says_fine_findings_or_wrong_usage(tmp_path: Path) -> None:
    good, warned, bad = (tmp_path / name for name in ("good.yaml", "warned.yaml", "bad.yaml"))
    good.write_text("# nothing\n")
    warned.write_text(WARNED)
    bad.write_text(TYPO)
    assert legation("validate", good).returncode == 0
    done = legation("validate", warned)
    assert (done.returncode, ": warning: " in done.stdout) == (0, True)
    assert legation("validate", "--strict", warned).returncode == 1
    assert legation("validate", bad).returncode == 1
    assert legation("validate", good, warned, bad).returncode == 1
    done = legation("validate", tmp_path / "missing.yaml")
    assert (done.returncode, "missing.yaml" in done.stderr) == (2, True)
    assert legation("validate").returncode == 2
    assert legation("validate", "-o", "xml", good).returncode == 2


def test_the_text_report_names_file_line_and_column_as_given(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("# first\n---\n" + TYPO)
    line = next(number for number, row in enumerate(TYPO.split("\n")) if "destnation" in row) + 3
    column = TYPO.split("\n")[line - 3].index("destnation") + 1
    done = subprocess.run(
        [sys.executable, "-m", "legation", "validate", "bad.yaml"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=clean_environment(),
    )  # fmt: skip
    (told,) = [row for row in done.stdout.split("\n") if "unknown field" in row]
    assert told.startswith(f"bad.yaml:{line}:{column}: error: VirtualService default/red spec.http[0].route[0]")
    assert "did you mean `destination`?" in told
    assert "1 document: " in done.stdout


def test_the_json_report_has_every_field_of_every_problem(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(f"{TYPO}---\n{WARNED.replace('red', 'blue')}")
    report = validated(tmp_path)
    assert report["documents"] == 2
    assert {problem["severity"] for problem in report["problems"]} == {"error", "warning"}
    for problem in report["problems"]:
        assert set(problem) >= {
            "severity", "code", "file", "line", "column", "object", "path", "message", "hint"
        }  # fmt: skip
        assert problem["file"] == str(tmp_path / "bad.yaml")
        assert problem["line"] > 0
        assert problem["message"]


def test_the_sarif_report_is_what_code_scanners_read(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(f"{TYPO}---\n{WARNED.replace('red', 'blue')}")
    report = json.loads(legation("validate", "-o", "sarif", tmp_path).stdout)
    assert report["version"] == "2.1.0"
    (run,) = report["runs"]
    known = [known["id"] for known in run["tool"]["driver"]["rules"]]
    assert len(known) == len(set(known))
    assert len(run["results"]) == len(validated(tmp_path)["problems"]) > 1
    for result in run["results"]:
        assert result["ruleId"] in known
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"].endswith("bad.yaml")
        assert location["physicalLocation"]["region"]["startLine"] >= 1


def test_the_github_report_is_one_command_a_line(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(f"{TYPO}---\n{WARNED.replace('red', 'blue')}")
    lines = legation("validate", "-o", "github", tmp_path).stdout.splitlines()
    assert len(lines) == len(validated(tmp_path)["problems"])
    assert any(line.startswith(f"::error file={tmp_path}/bad.yaml,line=") for line in lines)
    assert all(line.startswith(("::error ", "::warning ", "::notice ")) for line in lines)


def test_standard_input_is_a_file_called_minus() -> None:
    done = legation("validate", "-", stdin=TYPO)
    assert done.returncode == 1
    assert done.stdout.startswith("-:")
    assert legation("validate", "-", stdin=(CONFIGS / "bookinfo" / "services.yaml").read_text()).returncode == 0
    report = json.loads(legation("render", "-", "--role", "sidecar", stdin=_story_text("bookinfo")).stdout)
    assert any("reviews" in cluster["name"] for cluster in report["clusters"])


def _story_text(name: str) -> str:
    return "\n---\n".join(path.read_text() for path in sorted((CONFIGS / name).rglob("*.yaml")))


# --- awful inputs -------------------------------------------------------------------------------------------------

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{number}: &a{number} [{','.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 12)
)
HEAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
AWFUL: dict[str, str | bytes] = {
    "alias-bomb": BOMB,
    "alias-in-itself": "a: &a [*a]\n",
    "binary": bytes(range(256)) * 64,
    "brackets": "a: " + "[" * 30_000,
    "braces": "{a: " * 30_000,
    "carriage": (HEAD + "metadata: {name: x}\nspek: {}\n").replace("\n", "\r"),
    "dashes": "- " * 30_000 + "\n",
    "invalid-utf8": b"kind: \xff\xfe\xfd\n",
    "key-list": "? [a, b]\n: c\n",
    "kind-list": "apiVersion: v1\nkind: [Service]\nmetadata: {name: x}\n",
    "list-of-words": "apiVersion: v1\nkind: List\nitems: [a, 1, null]\n",
    "long-line": HEAD + "metadata: {name: " + "x" * 300_000 + "}\nspec: {hosts: [a]}\n",
    "merge-of-words": "a: {<<: b}\n",
    "name-number": HEAD + "metadata: {name: 5}\nspec: {}\n",
    "no-metadata": HEAD + "spec: {}\n",
    "nothing-in-spec": HEAD + "metadata: {name: x}\nspec:\n",
    "number": "42\n",
    "parents": HEAD + "metadata: {name: ../../etc/passwd, namespace: ../..}\nspec: {hosts: [a], http: []}\n",
    "python": "a: !!python/object/apply:os.system ['true']\n",
    "quote": 'a: "never closed\n',
    "tab": "a:\n\tb: c\n",
    "utf16": "kind: Service\n".encode("utf-16"),
    "weights": HEAD + "metadata: {name: w}\nspec: {hosts: [a], http: [{route: [{destination: {host: a}, weight: "
    + "9" * 5000 + "}]}]}\n",
    "infinite": HEAD + "metadata: {name: i}\nspec: {hosts: [a], http: [{timeout: .inf, retries: {attempts: .nan}}]}\n",
    "surrogate": HEAD + 'metadata: {name: "\\ud800"}\nspec: {hosts: ["\\ud800"]}\n',
}  # fmt: skip


@pytest.fixture(scope="module")
def awful() -> Any:
    with tempfile.TemporaryDirectory(prefix="legation-e2e-") as base:
        folder = Path(base, "configs")
        (folder / "x.yaml").mkdir(parents=True)
        for name, content in AWFUL.items():
            (folder / f"{name}.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
        (folder / "loop.yaml").symlink_to("loop.yaml")
        (folder / "folder-loop").symlink_to(".")
        (folder / "outside.yaml").symlink_to("/etc/passwd")
        os.mkfifo(folder / "pipe.yaml")
        (folder / "empty.yaml").touch()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / "socket.yaml"))
        (folder / "good.yaml").write_text((CONFIGS / "webserver" / "services.yaml").read_text())
        yield folder


def test_every_awful_file_is_told_and_the_good_one_beside_them_counts(awful: Path) -> None:
    done = legation("validate", "-o", "json", awful)
    assert done.returncode == 1
    problems = json.loads(done.stdout)["problems"]
    told = {Path(problem["file"]).stem for problem in problems if problem["severity"] == "error"}
    assert set(AWFUL) - told == set()
    assert "good" not in told
    assert "root:" not in done.stdout, "what is no YAML is not quoted"
    for problem in problems:
        if Path(problem["file"]).stem in AWFUL:
            assert problem["line"] >= 1, problem
            assert len(problem["message"]) < 500, problem


@pytest.mark.parametrize("name", ["alias-bomb", "binary", "brackets", "number"])
def test_an_awful_file_alone_is_told_too(awful: Path, name: str) -> None:
    for path in (awful / f"{name}.yaml", "-"):
        content = (awful / f"{name}.yaml").read_bytes() if path == "-" else b""
        done = legation("validate", path, stdin=content)
        assert done.returncode == 1
        assert done.stdout.startswith(f"{path}:1:") or f"{path}:" in done.stdout


def test_render_leaves_out_what_is_bad_tells_it_and_fails(awful: Path) -> None:
    done = legation("render", awful, "--role", "sidecar")
    assert done.returncode == 1
    names = [cluster["name"] for cluster in json.loads(done.stdout)["clusters"]]
    assert "outbound|80||webserver.default.svc.cluster.local" in names
    for name in AWFUL:
        assert f"{awful}/{name}.yaml:" in done.stderr


async def test_serve_serves_the_good_file_beside_awful_ones(awful: Path) -> None:
    program = await Program.start(
        "serve", str(awful), "--xds", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state-dir", "none"
    )
    try:
        found = await program.says(r"^serving (\d+) documents of")
        assert int(found[1]) >= 4
        assert await program.interrupt() == 0
        assert "Traceback" not in program.text
    finally:
        await program.kill()


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("validate", "/nowhere"),
        ("render", "/nowhere", "--role", "gateway"),
        ("render", CONFIGS / "bookinfo"),
        ("render", CONFIGS / "bookinfo", "--role", "king"),
        ("render", CONFIGS / "bookinfo", "--role", "sidecar", "--label", "=v"),
        ("render", CONFIGS / "bookinfo", "--role", "sidecar", "--map-port", "80"),
        ("render", CONFIGS / "bookinfo", "--role", "sidecar", "--map-port", "80=99999"),
        ("render", CONFIGS / "bookinfo", "--role", "sidecar", "--bind", "nowhere"),
        ("bootstrap", "--role", "gateway"),
        ("bootstrap", "--role", "gateway", "--name", "a b"),
        ("bootstrap", "--role", "gateway", "--name", "a", "--ip", "300.0.0.1"),
        ("bootstrap", "--role", "gateway", "--name", "a", "--xds", "nowhere"),
        ("bootstrap", "--role", "gateway", "--name", "a", "--admin", "127.0.0.1:99999"),
        ("schema", "Nonsense"),
        ("serve", "/nowhere"),
        ("serve", CONFIGS, "--xds", "nonsense"),
        ("serve", CONFIGS, "--xds", "127.0.0.1:99999"),
        ("serve", CONFIGS, "--xds", "unix:"),
        ("serve", CONFIGS, "--xds", "0.0.0.0:0"),
        ("serve", CONFIGS, "--http", "nonsense"),
        ("serve", CONFIGS, "--http", "0.0.0.0:0"),
        ("serve", CONFIGS, "--poll", "0"),
        ("serve", CONFIGS, "--poll", "nan"),
        ("run", "/nowhere"),
        ("run", CONFIGS, "--http", "nonsense"),
        ("run", CONFIGS, "--http", "0.0.0.0:0"),
        ("run", CONFIGS, "--sidecar", "nonsense"),
        ("run", CONFIGS, "--sidecar", "a b.front"),
        ("run", CONFIGS, "--variant", "omega"),
        ("serve", CONFIGS, "--xds", "[::]:15010"),
        ("serve", CONFIGS, "--xds", "example.com:15010"),
        ("serve", CONFIGS, "--xds", "none"),
        ("serve", CONFIGS, "--tls-cert", "/missing"),
        ("serve", CONFIGS, "--tls-cert", __file__),
        ("serve", CONFIGS, "--tls-cert", __file__, "--tls-key", __file__),
        ("serve", CONFIGS, "--client-ca", __file__),
        ("serve", CONFIGS, "--policy", __file__),
        ("serve", CONFIGS, "--tls-cert", __file__, "--tls-key", __file__, "--jwt-listen", "127.0.0.1:0"),
        ("serve", CONFIGS, "--tls-cert", __file__, "--tls-key", __file__, "--client-ca", __file__, "--jwks", __file__),
        ("bootstrap", "--role", "gateway", "--name", "a", "--tls-ca", "ca.crt"),
        ("bootstrap", "--role", "gateway", "--name", "a", "--tls-cert", "tls.crt", "--out", "/tmp/nowhere"),
        ("bootstrap", "--role", "gateway", "--name", "a", "--tls-ca", "ca.crt", "--out", "/tmp/nowhere"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments)).replace(str(CONFIGS), "configs"),
)
def test_wrong_usage_exits_2_and_says_what_is_wrong(arguments: tuple[str | Path, ...]) -> None:
    done = asked(*arguments)
    assert done.exit_code == 2, done.output
    assert "Error: " in done.stderr
    assert not done.stdout


def test_what_cannot_be_had_exits_1_and_says_so(tmp_path: Path) -> None:
    """A port in use, an address of another machine, a state directory that cannot be made, a path that is too long."""
    story = CONFIGS / "bookinfo"
    file = tmp_path / "file"
    file.write_text("mine")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tries: list[tuple[str, ...]] = [
            ("--xds", f"127.0.0.1:{port}", "--http", "none", "--state-dir", "none"),
            ("--xds", "127.0.0.1:0", "--http", f"127.0.0.1:{port}", "--state-dir", "none"),
            ("--xds", "127.0.0.1:0", "--http", "none", "--state-dir", f"{file}/state"),
            ("--xds", f"unix:{tmp_path}/{'x' * 200}", "--http", "none", "--state-dir", "none"),
            ("--xds", f"unix:{tmp_path}/missing/xds", "--http", "none", "--state-dir", "none"),
            ("--xds", f"unix:{file}", "--http", "none", "--state-dir", "none"),
            ("--xds", "192.0.2.1:0", "--insecure-any-address", "--http", "none", "--state-dir", "none"),
        ]
        for arguments in tries:
            done = legation("serve", story, *arguments)
            assert done.returncode == 1, (arguments, done)
            assert "not started: " in done.stderr
    assert file.read_text() == "mine"


# --- render, bootstrap, schema ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["gateway", "sidecar"])
@pytest.mark.parametrize("story", STORIES)
def test_render_prints_messages_that_protobuf_reads(story: str, role: str) -> None:
    is_egress = role == "gateway" and "istio: egressgateway" in _story_text(story)
    labels = ("--label", "istio=egressgateway") if is_egress else ()
    done = asked("render", CONFIGS / story, "--role", role, *labels, "--map-port", "80=8080")
    assert done.exit_code == 0, done.stderr
    assert not done.stderr
    content = json.loads(done.stdout)
    types = {
        "listeners": listener_pb2.Listener,
        "routes": route_pb2.RouteConfiguration,
        "clusters": cluster_pb2.Cluster,
        "endpoints": endpoint_pb2.ClusterLoadAssignment,
        "secrets": secret_pb2.Secret,
    }
    assert list(content) == list(types)
    for table, made in types.items():
        for resource in content[table]:
            message = json_format.ParseDict(resource, made())
            again = json_format.MessageToDict(message, preserving_proto_field_name=True)
            assert again == resource
    rules = (CONFIGS / story / "rules.yaml").exists() or (CONFIGS / story / "bookinfo.yaml").exists()
    if (role == "sidecar" and story != "tls-and-tcp") or (rules and "kind: Gateway" in _story_text(story)):
        assert content["listeners"]
        assert content["clusters"]
    ports = {listener["address"]["socket_address"]["port_value"] for listener in content["listeners"]}
    assert 80 not in ports


def test_render_says_the_same_every_time_and_in_yaml() -> None:
    arguments = ("render", CONFIGS / "bookinfo", "--role", "gateway")
    first, second = (legation(*arguments, PYTHONHASHSEED=str(seed)).stdout for seed in (1, 2))
    assert first == second
    assert pyyaml.safe_load(legation(*arguments, "-o", "yaml").stdout) == json.loads(first)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--role", "gateway", "--name", "edge"),
        ("--role", "sidecar", "--name", "n", "--namespace", "on", "--bind", "127.0.0.2", "--xds", "unix:/tmp/x y"),
        ("--role", "gateway", "--name", "g", "--variant", "sotw", "--xds", "[::1]:15010", "--map-port", "80=8080"),
        ("--role", "sidecar", "--name", "r", "--capture", "redirect", "--label", "version=0644", "--xds", "xds:15010"),
    ],
    ids=["gateway", "sidecar", "sotw", "redirect"],
)
@pytest.mark.envoy
def test_envoy_accepts_what_bootstrap_prints(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = legation("bootstrap", *arguments)
    assert done.returncode == 0
    file = tmp_path / "bootstrap.yaml"
    file.write_text(done.stdout)
    check = subprocess.run([find(), "--mode", "validate", "-c", file], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stderr


def test_every_kind_has_a_schema() -> None:
    kinds = legation("schema").stdout.split()
    assert {"Gateway", "VirtualService", "DestinationRule", "ServiceEntry", "Service"} <= set(kinds)
    content = json.loads(legation("schema", "virtualservice").stdout)
    assert content["$schema"]
    assert "spec" in content["properties"]


# --- everywhere ---------------------------------------------------------------------------------------------------


def test_every_command_explains_itself() -> None:
    said = legation("--help").stdout
    for command in COMMANDS:
        assert f"  {command}" in said
        done = legation(command, "--help" if command < "s" else "-h")
        assert done.returncode == 0
        assert f"Usage: python -m legation {command}" in done.stdout
    assert legation("--version").stdout.split()[-1][0].isdigit()


def test_flags_have_twins_in_the_environment_which_give_way() -> None:
    story = CONFIGS / "bookinfo"
    written = legation("render", story, "--role", "sidecar", "--bind", "127.0.0.9", "--map-port", "9080=9081")
    twins = {"LEGATION_ROLE": "sidecar", "LEGATION_BIND": "127.0.0.9", "LEGATION_MAP_PORT": "9080=9081"}
    assert legation("render", story, **twins).stdout == written.stdout
    assert "127.0.0.9" in written.stdout
    assert "127.0.0.8" in legation("render", story, "--bind", "127.0.0.8", **twins).stdout
    assert json.loads(legation("validate", story, LEGATION_OUTPUT="json").stdout)["documents"] == 14
    assert legation("render", story, LEGATION_ROLE="king").returncode == 2


@pytest.mark.parametrize(("environment", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["", "NO_COLOR"])
def test_a_terminal_gets_colours_unless_they_are_not_wanted(
    tmp_path: Path, environment: dict[str, str], is_coloured: bool
) -> None:
    (tmp_path / "bad.yaml").write_text(TYPO)
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in clean_environment().items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-m", "legation", "validate", tmp_path],
        stdin=theirs, stdout=theirs, stderr=theirs, env={**inherited, "TERM": "xterm", **environment},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # the terminal's way to say that nobody writes any more
        while more := os.read(ours, 1 << 16):
            said += more
    os.close(ours)
    assert process.wait() == 1
    assert b"error" in said
    assert (b"\x1b[" in said) == is_coloured
    assert "\x1b" not in legation("validate", tmp_path).stdout


# --- nothing is left behind ---------------------------------------------------------------------------------------


async def _running(base: Path) -> tuple[Program, set[int]]:
    """`legation run` of a story, and every process that it started."""
    os.makedirs(base / "tmp")
    program = await Program.start(
        "run", str(CONFIGS / "bookinfo"), "--http", "127.0.0.1:0", "--state-dir", "none", TMPDIR=str(base / "tmp")
    )
    await program.says("^stop with Ctrl-C$")
    found = descendants(program.pid)
    assert len(found) >= 2, "a gateway and a sidecar"
    return program, found


@pytest.mark.envoy
async def test_ctrl_c_ends_everything_that_run_started_and_cleans_up() -> None:
    with tempfile.TemporaryDirectory(prefix="legation-e2e-") as base:
        program, children = await _running(Path(base))
        try:
            assert await program.interrupt() == 0
            await all_gone(children)
            assert os.listdir(f"{base}/tmp") == []
            assert "Traceback" not in program.text
        finally:
            await program.kill()


@pytest.mark.envoy
async def test_kill_9_of_run_ends_everything_that_it_started() -> None:
    with tempfile.TemporaryDirectory(prefix="legation-e2e-") as base:
        program, children = await _running(Path(base))
        await program.kill()
        await all_gone(children)


@pytest.mark.envoy
async def test_the_harness_itself_leaves_nothing_behind_when_a_test_fails() -> None:
    """Servers and Envoys of a mesh end with its block, however that is left."""
    before = descendants(os.getpid())

    async def fails() -> None:
        async with mesh() as made:
            made.write("rules.yaml", rule("red", "one"))
            await made.serve()
            raise AssertionError("on purpose")

    with pytest.raises(AssertionError, match="on purpose"):
        await fails()

    async def left() -> set[int]:
        return descendants(os.getpid()) - before

    await eventually(left, lambda found: not found)


async def test_a_taken_console_port_is_no_reason_for_run_to_fail(tmp_path: Path) -> None:
    """It takes another one, and says which."""
    port = free_port()
    (tmp_path / "nothing.yaml").write_text("# nothing yet\n")
    with socket.create_server(("127.0.0.1", port)):
        program = await Program.start("run", str(tmp_path), "--http", f"127.0.0.1:{port}", "--state-dir", "none")
        try:
            found = await program.says(r"^see  http://127.0.0.1:(\d+)/$")
            assert int(found[1]) != port
        finally:
            await program.stop()
