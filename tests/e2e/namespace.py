"""Redirected traffic: a test that runs whole, servers and Envoys and clients, in a network namespace of its own, with real
rules of nftables. Nothing outside is touched, nobody has to be root, and all of it ends with the test.

    @pytest.mark.redirected
    async def test_x(single: Mesh) -> None:
        namespace.redirect(namespace.OUTBOUND)

In it all of 10.0.0.0/8 is this machine: a service may listen at any such address, and what nobody listens at refuses.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from legation.local.envoy import leashed

ROOT: Final = Path(__file__).parents[2]
MARK: Final = 1337
"""What is on packets that Envoy sends itself; they are left alone."""
OUTBOUND: Final = "redirect to :15001"
INBOUND: Final = "redirect to :15006"
_INSIDE: Final = "LEGATION_TEST_NAMESPACE"
_RULES: Final = """
table ip capture {{
  chain output {{
    type nat hook output priority -100;
    meta mark {mark} return
    {rules}
  }}
}}
"""


def is_inside() -> bool:
    """Whether this process is in such a namespace."""
    return _INSIDE in os.environ


@functools.cache
def missing() -> str:
    """Why there can be none here; empty if there can."""
    for program in ("unshare", "nft", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    probe = "ip link set lo up && nft add table ip t && nft add chain ip t c '{type nat hook output priority -100;}'"
    tried = subprocess.run(["unshare", "-Urn", "sh", "-c", probe], capture_output=True, text=True, check=False)
    return f"no network namespace: {tried.stderr.strip()}" if tried.returncode else ""


def run(test: str) -> None:
    """Runs a test of this suite again, inside a new namespace; fails with what it printed if it fails."""
    pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", test)
    # The leash is put on inside: becoming somebody else takes it off.
    command = ("unshare", "-Urn", *leashed(pytest))
    with tempfile.TemporaryFile("w+") as said:  # a pipe would stay open with a child that is left over
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, _INSIDE: "1"}, stdout=said, stderr=said, check=False
        )
        said.seek(0)
        text = said.read()
    assert done.returncode == 0, text
    assert "1 passed" in text, text


def prepare() -> None:
    """Makes an empty namespace one in which there are addresses."""
    for command in ("ip link set lo up", "ip route add local 10.0.0.0/8 dev lo"):
        subprocess.run(command.split(), check=True)


def redirect(*rules: str) -> None:
    """From now on connections to 10.0.0.0/8 are treated by these rules of nftables, save those with MARK on them."""
    lines = "\n    ".join(f"ip daddr 10.0.0.0/8 ip protocol tcp {rule}" for rule in rules)
    ruleset = "flush ruleset\n" + _RULES.format(mark=MARK, rules=lines)
    subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True)


def marked(bootstrap: str) -> str:
    """A bootstrap with which Envoy puts MARK on all that it sends: SOL_SOCKET is 1, SO_MARK is 36."""
    option = f"{{level: 1, name: 36, int_value: {MARK}, state: STATE_PREBIND}}"
    return f"{bootstrap}cluster_manager: {{upstream_bind_config: {{socket_options: [{option}]}}}}\n"
