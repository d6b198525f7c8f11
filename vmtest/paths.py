"""Where things are: everything generated lives below build/, or where $BUILD says."""

import os
from pathlib import Path

from vmtest.errors import Failure

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("BUILD", ROOT / "build")).resolve()
KERNELS = ("base", "patched")  # the two that are compared
DEBUG = "debug"  # the patched one with sanitizers
BISECT = "bisect"  # the series up to some patch
MUTANT = "mutant"  # the patched one with a planted bug
LARGE = "large"  # the patched one with pageblocks of 4 MiB
HOTMEM = "hotmem"  # the patched one as a Debian package
BALLOONED = "-ballooned"  # behind base or patched: those without Xen's unpopulated pages


def source(kernel: str) -> Path:
    """The source tree `kernel` is built from."""
    return BUILD / ("linux" if "base" in kernel else "tree")


def built(kernel: str, file: str) -> Path:
    """A file of the kernel's object tree; it has to be there already."""
    path = BUILD / "obj" / kernel / file
    if not path.exists():
        raise Failure(f"{path} is missing: the {kernel} kernel is not built yet. Run `make build`.")
    return path


def measured(kernel: str) -> str:
    """The kernel that is measured in its place: without what finds mistakes."""
    return f"bench-{kernel}"


def finds_mistakes(kernel: str) -> bool:
    return not kernel.startswith("bench-")


def bzimage(kernel: str) -> Path:
    return built(kernel, "arch/x86/boot/bzImage")
