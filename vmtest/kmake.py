# SPDX-License-Identifier: GPL-2.0
"""The kernel's own make, as tools/kmake calls it."""

import subprocess

from vmtest import paths
from vmtest.errors import Failure


def kmake(kernel: str, *targets: str) -> None:
    """Makes targets in the object tree of `kernel`."""
    places = [str(path) for path in (paths.source(kernel), paths.objects(kernel))]
    command = [str(paths.ROOT / "tools/kmake"), kernel, *places, *targets]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        raise Failure(f"{' '.join(targets)} cannot be made for {kernel}:\n{made.stdout}")
