"""What Envoy itself says of a configuration, without running it: `envoy --mode validate`."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from legation.local import envoy

PATIENCE: Final = 120.0
"""Seconds after which an Envoy that only looks at a file is given up."""
LENGTH: Final = 600
"""Characters of Envoy's words that are worth telling."""


def verdict(bootstrap: dict[str, Any]) -> str:
    """Empty if Envoy takes a configuration; else its own words. Raises EnvoyMissing if there is none."""
    with TemporaryDirectory(prefix="legation-envoy-") as folder:
        config = Path(folder, "bootstrap.json")
        config.write_text(json.dumps(bootstrap), encoding="utf-8")
        command = (
            str(envoy.find()), "--mode", "validate", "-c", str(config), "--disable-hot-restart",
            "--log-level", "error", "--log-format", "%v",
        )  # fmt: skip
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PATIENCE,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"Envoy said nothing within {PATIENCE:g} s"
    return _words(ended.stderr) or f"Envoy ended with status {ended.returncode}" if ended.returncode else ""


_LEAD: Final = re.compile(r"error initializing configuration '[^']*': ")
_BROKEN_RULE: Final = "Proto constraint validation failed"


def _words(said: str) -> str:
    """The fault alone, on one line: Envoy quotes its path, and before a broken rule of a field the whole configuration."""
    if _BROKEN_RULE in said:
        said = said[said.rindex(_BROKEN_RULE) :]
    return " ".join(_LEAD.sub("", said).split())[:LENGTH]
