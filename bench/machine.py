"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from legation.local import envoy


def described() -> dict[str, str]:
    """The machine and the versions of all that is measured, in words."""
    versions = {package: _version(package) for package in ("legation", "grpcio", "protobuf", "PyYAML", "pydantic")}
    return {
        "cpu": _model(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "load": f"{os.getloadavg()[0]:.2f} at the start",
        "python": platform.python_version(),
        "envoy": _envoy(),
        **versions,
        "commit": _commit(),
    }


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _envoy() -> str:
    try:
        said = subprocess.run([envoy.find(), "--version"], capture_output=True, text=True, check=True, timeout=20)
    except (envoy.EnvoyMissing, OSError, subprocess.SubprocessError):
        return "none"
    return next((part for part in said.stdout.split("/") if part[:1].isdigit() and "." in part), said.stdout.strip())


def _commit() -> str:
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
