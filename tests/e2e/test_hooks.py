"""A user's own function edits what a real Envoy gets, and when it fails nobody notices but its author."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .mesh import Mesh, gateway, rule, service

pytestmark = pytest.mark.envoy

DOCS = Path(__file__).parents[2] / "docs" / "hooks.md"


async def test_the_hook_of_the_page_marks_answers_and_its_failure_changes_nothing(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert code is not None
    module = mesh.folder.parent / "edge.py"
    mesh.write("red.yaml", gateway(), service("red", await mesh.stand_in("red")), rule("red", "red"))
    monkeypatch.setenv("PYTHONPATH", str(mesh.folder.parent))
    module.write_text(
        code[1].rstrip()
        + "\n    hosts = [host.name for route in resources.routes.values() for host in route.virtual_hosts]\n"
        + '    assert not any("blue" in host for host in hosts), "blue is not for us"\n'
    )
    await mesh.serve("--hooks", "edge:mark")
    place = (await mesh.gateway()).at()
    answer = await place.workload("red", host="red.example")
    assert answer.headers["x-marked"].startswith("http.")

    mesh.write("blue.yaml", rule("blue", "red"))
    await mesh.server.says(rf"{module}:15:1: error: the hook failed: AssertionError: blue is not for us")
    answer = await place.workload("red", host="red.example")
    assert answer.headers["x-marked"].startswith("http.")
    assert (await place.ask(host="blue.example")).status == 404

    (mesh.folder / "blue.yaml").unlink()
    mesh.write("green.yaml", rule("green", "red"))
    answer = await place.workload("red", host="green.example")
    assert answer.headers["x-marked"].startswith("http.")
