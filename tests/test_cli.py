"""The command line as a whole: what its commands are called, and that asking for one does not load the others."""

from __future__ import annotations

import subprocess
import sys

import pytest
from legation.cli import COMMANDS, main

HEAVY = {"grpc", "envoy", "pydantic", "uvicorn", "re2", "rich", "cryptography"}
LOADS = "import sys; from legation.cli import main; main({!r}, standalone_mode=False); print(*sys.modules)"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_where_the_table_says(name: str) -> None:
    found = main.get_command(None, name)  # type: ignore[arg-type]
    assert found is not None
    assert found.name == name
    assert found.help
    assert COMMANDS[name][1].endswith(".")


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        (["--help"], set[str]()),
        (["status", "--help"], {"grpc"}),
        (["schema"], {"pydantic", "cryptography", "re2"}),
    ],
)
def test_a_command_loads_what_it_needs_and_no_more(command: list[str], needs: set[str]) -> None:
    """A listing of the commands must not take as long as a server."""
    done = subprocess.run(
        [sys.executable, "-c", LOADS.format(command)], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split("\n")[-2].split())
    assert "legation.cli" in loaded
    assert loaded & HEAVY <= needs
