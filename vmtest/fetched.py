# SPDX-License-Identifier: GPL-2.0
"""Debian's packages that one of our tools has unpacked and not installed."""

from dataclasses import dataclass
from pathlib import Path

from vmtest.errors import Failure


@dataclass(frozen=True)
class Fetched:
    root: Path
    tool: str  # which fetches them
    program: str = "qemu-system-x86_64"

    @property
    def pins(self) -> Path:
        """What says that they are there."""
        return self.root / "pins"

    def file(self, pattern: str) -> Path:
        found = sorted(self.root.glob(pattern))
        if not found:
            raise Failure(f"{self.root / pattern} is missing. Run `{self.tool}`.")
        return found[-1]

    @property
    def linker(self) -> Path:
        """Programs run on their own release's libraries, whatever this machine's are."""
        return self.file("lib/*/ld-linux-x86-64.so.2")

    def linked(self, *options: str) -> list[str]:
        """How one of the programs is started; with `--list`, what it loads is listed."""
        libraries = ":".join(str(self.file(directory)) for directory in ["lib/*-linux-gnu", "usr/lib/*-linux-gnu"])
        return [str(self.linker), "--library-path", libraries, *options]

    @property
    def qemu(self) -> Path:
        return self.file(f"usr/bin/{self.program}")

    def emulator(self) -> list[str]:
        """How QEMU is started."""
        command = ["env", f"QEMU_MODULE_DIR={self.file('usr/lib/*/qemu')}", *self.linked(), str(self.qemu)]
        firmware = [self.root / "usr/share" / name for name in ("qemu", "seabios")]
        return command + [word for place in firmware if place.is_dir() for word in ("-L", str(place))]
