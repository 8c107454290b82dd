"""`pytest --envoy=docker`: every Envoy of the end-to-end tests is the official image's, in a container of its own.

The tests stay as they are: `$LEGATION_ENVOY` names the program that is started for Envoy, and here that is a script that
runs a container with the host's network and the folders in which tests keep their files.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_VERSIONS: Final = (ROOT / "envoy" / "versions.txt").read_text()
_LABEL: Final = f"legation.test={os.getpid()}"


def image() -> str:
    """The image that docker-compose.yml stands on."""
    found = re.search(r"^ENVOY_VERSION=(\S+)$", _VERSIONS, re.MULTILINE)
    assert found is not None, _VERSIONS
    return f"envoyproxy/envoy:v{found[1]}"


@functools.cache
def missing() -> str:
    """Why there can be no containers here; empty if there can."""
    docker = shutil.which("docker")
    if docker is None:
        return "docker is not installed"
    asked = subprocess.run([docker, "info"], capture_output=True, text=True, check=False)
    return f"no container engine answers: {asked.stderr.strip()}" if asked.returncode else ""


def program(folder: Path) -> Path:
    """Writes the program that stands for Envoy into a folder. A container ends with the program, unless that is killed."""
    files = tempfile.gettempdir()
    command = (
        "docker", "run", "--rm", "--init", "--network", "host", "--user", f"{os.getuid()}:{os.getgid()}",
        "--label", _LABEL, "--volume", f"{files}:{files}", "--volume", f"{ROOT}:{ROOT}:ro",
        "--entrypoint", "/usr/local/bin/envoy", image(),
    )  # fmt: skip
    script = folder / "envoy-in-a-container"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    script.chmod(0o755)
    return script


def end() -> None:
    """Ends the containers that this process started and whose program was killed."""
    listed = subprocess.run(
        ["docker", "ps", "--quiet", "--filter", f"label={_LABEL}"], capture_output=True, text=True, check=False
    )
    if found := listed.stdout.split():
        subprocess.run(["docker", "kill", *found], capture_output=True, check=False)
