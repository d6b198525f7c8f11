# SPDX-License-Identifier: GPL-2.0
"""The kernels that are built: what configs/flavours.toml says of each. For tools/, which are in bash:
`python3 -m vmtest.flavours NAME` writes an entry as the elements of an array."""

import shlex
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Sequence

from vmtest.errors import Failure

HOST = "x86_64"  # what tools/setup takes
TABLE = Path(__file__).resolve().parent.parent / "configs/flavours.toml"


@dataclass(frozen=True)
class Architecture:
    kernels: Sequence[str]
    make: str
    cross: str
    target: str
    image: str
    qemu: str
    machine: str
    console: str
    unhurried: str = ""
    nmi: bool = False
    cpu: str = ""
    firmware: str = ""
    fetch: str = ""
    bus: str = "pci"
    device_block: str = "2M"
    byteorder: Literal["little", "big"] = "little"
    debian: str = ""
    suite: str = ""
    packages: Sequence[str] = ()

    @property
    def cmdline(self) -> str:
        """How that of each kernel begins. panic=-1 and -no-reboot: a guest that panics ends QEMU, and nobody waits."""
        return " ".join(filter(None, [f"console={self.console}", self.unhurried, "panic=-1"]))


@dataclass(frozen=True)
class Flavour:
    purpose: str
    source: str
    architecture: str
    fragments: Sequence[str]
    basis: str = "tinyconfig"
    suites: Sequence[str] = ()
    skips: Sequence[str] = ()
    without: Sequence[str] = ()
    cannot: Sequence[str] = ()
    copy_of: str = ""
    measures: str = ""

    @property
    def finds_mistakes(self) -> bool:
        return "debug" in self.fragments

    @property
    def has_kasan(self) -> bool:
        return "sanitizers" in self.fragments


_table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
ARCHITECTURES: dict[str, Architecture] = {name: Architecture(**entry) for name, entry in _table["architecture"].items()}
FLAVOURS: dict[str, Flavour] = {name: Flavour(**entry) for name, entry in _table["flavour"].items()}


def flavour(name: str) -> Flavour:
    if name not in FLAVOURS:
        raise Failure(f"there is no kernel {name!r}, but {', '.join(FLAVOURS)}: {TABLE}")
    return FLAVOURS[name]


def architecture(name: str) -> Architecture:
    """That of the kernel `name`."""
    return ARCHITECTURES[flavour(name).architecture]


def is_base(name: str) -> bool:
    """Whether `name` is a kernel without the series."""
    return name in FLAVOURS and FLAVOURS[name].source == "base"


def both(name: str) -> str:
    """What stands in the place of a kernel where those that the architecture `name` compares are run by one test."""
    return "both" if name == HOST else f"both-{name}"


def compared(kernel: str) -> Sequence[str]:
    """The kernels of a test: `kernel`, or if it stands for both of an architecture, these."""
    return {both(name): entry.kernels for name, entry in ARCHITECTURES.items()}.get(kernel, [kernel])


def elements(name: str) -> str:
    """What bash has to know of it. Words of a list are between blanks."""
    entry = vars(flavour(name)) | vars(architecture(name))
    words = {key: " ".join(value) if isinstance(value, (list, tuple)) else str(value) for key, value in entry.items()}
    return " ".join(f"[{key}]={shlex.quote(value)}" for key, value in words.items())


if __name__ == "__main__":
    try:
        print(elements(sys.argv[1]))
    except Failure as failure:
        sys.exit(f"error: {failure}")
