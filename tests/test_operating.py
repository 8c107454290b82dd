"""What the operator's guide names is there: metrics, flags, events."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from legation.cli import main
from legation.console.metrics import Metrics
from prometheus_client import CollectorRegistry

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/guide/operating.md"
ALERTS = ROOT / "docs/guide/alerts.yaml"
UNIT = ROOT / "envoy/legation.service"


def known() -> set[str]:
    """The names of all series, as Prometheus sees them."""
    metrics = Metrics.on(CollectorRegistry())
    metrics.follow(lambda: ())
    metrics.watch_certificates(lambda: 1.0)
    found: set[str] = set()
    for family in metrics.registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("", "_bucket", "_count", "_sum")}.get(family.type, ("",))
        found.update(family.name + suffix for suffix in suffixes)
    return found


@pytest.mark.parametrize("path", [PAGE, ALERTS], ids=lambda path: path.name)
def test_the_metrics_that_are_named_are_there(path: Path) -> None:
    named = set(re.findall(r"\blegation_[a-z_]+\b", path.read_text()))
    assert named
    assert named <= known()


def test_the_alerts_are_rules() -> None:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]:
        assert {"alert", "expr", "annotations"} <= rule.keys()
        assert rule["annotations"]["summary"]


@pytest.mark.parametrize("path", [PAGE, UNIT], ids=lambda path: path.name)
def test_the_flags_that_are_named_are_there(path: Path) -> None:
    commands = re.findall(r"legation (serve|wait|status|validate)\b([^`\n]*)", path.read_text())
    assert commands
    for name, rest in commands:
        command = main.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        flags = {flag for parameter in command.params for flag in parameter.opts} | {"--help"}
        assert set(re.findall(r"--?[a-z][a-z-]*\b", rest.partition("#")[0].partition("&&")[0])) <= flags, (name, rest)


def test_the_events_that_are_named_are_those_that_are_said() -> None:
    said = {
        event
        for source in (ROOT / "xds/legation").rglob("*.py")
        for event in re.findall(r'\bsay\(\s*[\w.\[\]]+,\s*"(\w+)"', source.read_text())
    }
    (told,) = re.findall(r"Events are (.*?)\.", PAGE.read_text(), re.DOTALL)
    named = set(re.findall(r"`(\w+)`", told))
    assert named == said
