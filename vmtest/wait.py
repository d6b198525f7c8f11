"""Wait for a condition, never for a time."""

import time
from typing import Callable

from vmtest.errors import Failure

POLL_SECONDS = 0.05


def wait_until(reached: Callable[[], bool], seconds: float, stuck: Callable[[], str]) -> None:
    """Polls `reached`; after `seconds` fails with what `stuck` says."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise Failure(f"after {seconds:.0f} s: {stuck()}")
        time.sleep(POLL_SECONDS)
