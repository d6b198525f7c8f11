# SPDX-License-Identifier: GPL-2.0
"""What a crash dump has to hold, and what a header says it would."""

from vmtest.elf import Load
from vmtest.iomem import Iomem
from vmtest.units import MIB, PAGE

Ranges = list[tuple[int, int]]  # of addresses, both ends inclusive


def listed(loads: list[Load]) -> Ranges:
    return [(load.start, load.end) for load in loads]


def expected(iomem: Iomem) -> Ranges:
    """The System RAM of /proc/iomem, less the crash kernel's and the first MiB."""
    ranges = [(r.start, r.end) for r in iomem.walk() if r.name.startswith("System RAM")]
    ranges = without(sorted(ranges), 0, MIB - 1)
    for crash in iomem.named("Crash kernel"):
        ranges = without(ranges, crash.start, crash.end)
    return ranges


def without(ranges: Ranges, start: int, end: int) -> Ranges:
    cut = []
    for first, last in ranges:
        cut += [(first, min(last, start - 1)), (max(first, end + 1), last)]
    return [(first, last) for first, last in cut if first <= last]


def borders(pages: list[int]) -> list[int]:
    """Of pages in order, those without a neighbour on one side."""
    there = set(pages)
    return [page for page in pages if not {page - PAGE, page + PAGE} <= there]
