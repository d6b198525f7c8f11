# SPDX-License-Identifier: GPL-2.0
"""Where things are: everything generated lives below build/, or where $BUILD says."""

import os
from pathlib import Path

from vmtest.errors import Failure
from vmtest.flavours import ARCHITECTURES, FLAVOURS, HOST, architecture, flavour

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("BUILD", ROOT / "build")).resolve()
KERNELS = ARCHITECTURES[HOST].kernels  # the two that are compared
HOTMEM = "hotmem"
LARGE_PAGES = "-64k"  # behind those of an architecture: with pages of 64 KiB
BALLOONED = "-ballooned"  # behind base or patched: those without Xen's unpopulated pages


def source(kernel: str) -> Path:
    """The source tree `kernel` is built from."""
    return BUILD / ("linux" if flavour(kernel).source == "base" else "tree")


def objects(kernel: str) -> Path:
    return BUILD / "obj" / kernel


def built(kernel: str, file: str) -> Path:
    """A file of the kernel's object tree; it has to be there already."""
    path = objects(kernel) / file
    if not path.exists():
        raise Failure(f"{path} is missing: the {kernel} kernel is not built yet. Run `tools/build {kernel}`.")
    return path


def programs(kernel: str) -> Path:
    """Where tools/programs has what Debian's packages have for guests of another architecture than the host's."""
    return BUILD / "programs" / flavour(kernel).architecture


def measured(kernel: str) -> str:
    """The kernel that is measured in the place of `kernel`."""
    return next(each for each, entry in FLAVOURS.items() if entry.measures == kernel)


def kernel_image(kernel: str) -> Path:
    return built(kernel, architecture(kernel).image)
