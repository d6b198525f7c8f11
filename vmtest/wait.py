# SPDX-License-Identifier: GPL-2.0
"""Wait for a condition, never for a time."""

import time
from typing import Callable

from vmtest.errors import Failure

POLL_SECONDS = 0.05
# Longer than virtio-mem takes to try again, and once more, where something was in use (50 s and 100 s),
# and than Hyper-V's device says nothing to the driver at first (50 s).
SECONDS = 240.0


def wait_until(
    reached: Callable[[], bool], stuck: Callable[[], str], seconds: float = SECONDS
) -> None:
    """Polls `reached`; after `seconds` fails with what `stuck` says."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise Failure(f"after {seconds:.0f} s: {stuck()}")
        time.sleep(POLL_SECONDS)
