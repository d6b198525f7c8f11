# SPDX-License-Identifier: GPL-2.0
"""Each executable file beside this one is a check; its output comes while it runs, or if other
tests run beside it, when it fails."""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

CHECKS = sorted(path for path in Path(__file__).parent.iterdir() if path.is_file() and os.access(path, os.X_OK))

LONG = {"each-builds", "each-fix-builds"}  # 100 builds
LONG_MARKS = [pytest.mark.long, pytest.mark.timeout(12 * 3600)]


@pytest.mark.xdist_group("checks")  # they share a work tree
@pytest.mark.parametrize(
    "check",
    [pytest.param(path, id=path.name, marks=LONG_MARKS if path.name in LONG else []) for path in CHECKS],
)
def test_check(check: Path, capfd: pytest.CaptureFixture[str], worker_id: str) -> None:
    with capfd.disabled() if worker_id == "master" else contextlib.nullcontext():
        print(flush=True)
        # A check ends what it started when it is told to end: here after Ctrl-C, or when pytest is gone.
        command = ["setpriv", "--pdeathsig", "TERM", str(check)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            status = process.wait()
        finally:
            process.terminate()
            process.wait()
    assert not status, f"see its lines; alone: make check C={check.name}"
