"""What the server says while it runs: one event a line, for people or for machines."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

log = logging.getLogger("legation")

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("text", "json")


def say(level: int, event: str, words: str, **fields: Any) -> None:
    """One event. `event` and the names of `fields` are stable; `words` say the same to people."""
    if log.isEnabledFor(level):
        log.log(level, "%s", words, extra={"event": event, "fields": fields})


def begin(level: str, form: str) -> None:
    """From now on what is said goes to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    # Other libraries are heard from a warning on; they do not know what matters here.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(level.upper())


def harmless(words: str) -> str:
    """What others say, on one line, with nothing in it that a terminal obeys."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in words)


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Nobody's words start a line of their own, or steer a terminal: ids and errors are what clients say."""
        record.message = harmless(record.message)
        return super().formatMessage(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Time (RFC 3339), level, event and words come first, then what the event has besides."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False, default=str)
