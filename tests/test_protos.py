"""The generated modules are what `make protos` makes of protos/ today."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_generated_modules_are_up_to_date(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "protos/generate.py"))["main"](tmp_path)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.py*")}
    assert made
    for path, text in made.items():
        assert (ROOT / "xds" / path).read_text() == text, f"{path}: `make protos`"
