# SPDX-License-Identifier: GPL-2.0
"""What a guest pays of the memory it booted with for what it is given: the memory map, mostly. And
how long that takes."""

import mmap
from dataclasses import asdict
from statistics import median
from typing import Any

from vmtest import growth, paths
from vmtest.errors import Failure
from vmtest.units import MIB, parse_size

SIZES = ["1G", "16G", "64G", "256G"]
# The base needs 4 GiB for the memory map of 256 GiB; both kernels get the same.
MEMORY = "6G"
ROUNDS = 3  # of both kernels in turn: a machine that does other things as well is only ever slower

Measured = dict[str, dict[str, float]]  # kernel -> size -> KiB for each GiB


def measure() -> tuple[Measured, dict[str, Any]]:
    """The figures, and all that was seen."""
    print(f"A guest with {MEMORY} is given {SIZES[-1]}, in steps:", flush=True)
    guests: dict[str, list[growth.Growth]] = {kernel: [] for kernel in paths.KERNELS}
    for _ in range(ROUNDS):
        for kernel, grown in guests.items():
            touch(parse_size(MEMORY))
            guest = growth.grow(paths.measured(kernel), MEMORY, SIZES)
            if len(guest.steps) < len(SIZES) or not guest.end.endswith(", as before"):
                raise Failure(f"{guest.kernel}: {guest.end}")
            grown.append(guest)
    per_gib = {
        kernel: {
            size: round(median(guest.steps[number].per_gib() for guest in grown), 1)
            for number, size in enumerate(SIZES)
        }
        for kernel, grown in guests.items()
    }
    return per_gib, {kernel: [asdict(guest) for guest in grown] for kernel, grown in guests.items()}


def touch(size: int) -> None:
    """Uses as much of this machine's memory, and frees it again. Where this machine is a guest itself, its host may
    take seconds to hand out memory that has not been in use for a while; whoever comes first would pay for that."""
    for _ in range(3):  # what one round frees is not all that the next one gets
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)  # as QEMU does
            for offset in range(0, size, 2 * MIB):
                memory[offset] = 1


def table(measured: Measured) -> str:
    lines = ["| KiB of boot memory for each GiB, at | " + " | ".join(SIZES) + " |"]
    lines.append("|---" * (1 + len(SIZES)) + "|")
    for kernel, sizes in measured.items():
        lines.append(f"| {kernel} | " + " | ".join(f"{sizes[size]:.0f}" for size in SIZES) + " |")
    return "\n".join(lines)


def faster(guests: dict[str, Any]) -> str:
    """How long the fastest of each kernel took, by the clock."""
    up = {
        kernel: min(sum(step["seconds"] for step in guest["steps"]) for guest in grown)
        for kernel, grown in guests.items()
    }
    down = {kernel: min(guest["down"] for guest in grown) for kernel, grown in guests.items()}
    return "\n".join(
        f"{SIZES[-1]} {what} in {seconds['base']:.1f} s on the base, {seconds['patched']:.1f} s patched:"
        f" {seconds['base'] / seconds['patched']:.1f} times faster"
        for what, seconds in [("plugged", up), ("unplugged", down)]
    )
