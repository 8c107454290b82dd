"""What a client's words say of whose trouble a refusal is."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_OF_THE_HOST: Final = re.compile(
    r"cannot bind '|Address already in use|Cannot assign requested address|unable to bind|"
    r"unable to read file: |Invalid path: |file .* (?:does not exist|cannot be read)|Failed to load .* from .*: No such file|"
    r"No such file or directory|Too many open files",
)


def is_of_the_host(words: str) -> bool:
    """Is it the trouble of the machine on which the client runs: a port in use, a file that is missing? It may pass.

    Only where the words are clear: what is taken for a passing trouble is tried again and again.
    """
    return _OF_THE_HOST.search(words) is not None


def named(words: str, names: Collection[str]) -> set[str]:
    """Which of these names stand in them: Envoy names the clusters and listeners that it refuses."""
    tokens = set(re.split(r"[\s,:;'\"()]+", words))
    return {name for name in names if name in tokens}
