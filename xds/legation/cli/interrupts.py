"""Ctrl-C and SIGTERM, at any moment: while a server starts as well as while it serves."""

from __future__ import annotations

import asyncio
import signal


def cancel_when_asked() -> asyncio.Event:
    """From now on these signals cancel the current task, and set the event first. A second one cuts the end short."""
    asked = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    def cancel() -> None:
        asked.set()
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, cancel)
    return asked
