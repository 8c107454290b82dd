"""Folders `secrets/<namespace>/<name>/` as documents: what holds for a Secret in a file holds for them."""

from __future__ import annotations

import json
from base64 import b64encode

from legation.ingest.admission import File, Version
from legation.ingest.decode import decode, identify
from legation.ingest.documents import Document
from legation.ingest.files import SecretFolder


def understand(folder: SecretFolder, partly_unknown: bool = False) -> File:
    """A folder as a file with one Secret in it. `partly_unknown`: something in it could not be read."""
    if partly_unknown:
        return File(folder.path, complete=False)
    content = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": folder.name, "namespace": folder.namespace},
        "data": {name: b64encode(data).decode() for name, data in sorted(folder.files.items())},
    }
    # On one line, number 0: no entry of it stands in any line of the folder.
    document = Document(folder.path, 0, json.dumps(content), content)
    key = identify(document)
    assert key is not None, folder.path
    item, problems = decode(document)
    return File(folder.path, {key: (Version(document, item, tuple(problems)),)})
