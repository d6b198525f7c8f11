# SPDX-License-Identifier: GPL-2.0
"""python3 -m bench.executed: what compaction costs on base and patched, by function, where both take the same course.

A plugin of QEMU counts each instruction. Which course compaction takes varies from run to run. Here both kernels do the
work until a run of each has passed and isolated the same number of pages, nearly. What differs between these two by
function is what the series costs.
"""

import subprocess
import sys
from array import array
from collections import Counter
from itertools import product
from pathlib import Path

from bench import compaction
from bench.shares import Symbols
from vmtest import paths
from vmtest.errors import Failure

BASE, GRANULE = 0xFFFFFFFF81000000, 16  # as in executed.c
LEFT = 196  # MiB that are free at the begin
NEARLY = 0.02  # of 350 M instructions, 10 M are for pages that are passed
TRIES = 10
LEAST = 10_000  # a difference that is worth a row
INTO = paths.BUILD / "bench"

Counted = tuple[compaction.Huge, Counter[str]]


def plugin() -> Path:
    INTO.mkdir(parents=True, exist_ok=True)
    made = INTO / "executed.so"
    source = Path(__file__).parent / "executed.c"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", made, source], check=True)
    return made


def by_function(kernel: str, counted: bytes) -> Counter[str]:
    symbols = Symbols(paths.measured(kernel))
    counters = array("Q")
    counters.frombytes(counted)
    found: Counter[str] = Counter()
    for number, count in enumerate(counters):
        if count:
            found[symbols.name(BASE + number * GRANULE)] += count
    return found


def count(kernel: str) -> Counted:
    out = INTO / f"executed-{kernel}"
    work = compaction.measure_huge(kernel, LEFT, f"{plugin()},out={out}")
    return work, by_function(kernel, out.read_bytes())


def same_course(one: compaction.Huge, other: compaction.Huge) -> bool:
    return all(abs(one.work[name] - count) <= NEARLY * count for name, count in other.work.items())


def measure() -> dict[str, Counted]:
    counted: dict[str, list[Counted]] = {kernel: [] for kernel in paths.KERNELS}
    for _ in range(TRIES):
        for kernel, those in counted.items():
            those.append(count(kernel))
        for pair in product(*counted.values()):
            if same_course(pair[0][0], pair[1][0]):
                return dict(zip(counted, pair))
    raise Failure(f"compaction never takes the same course on both kernels, in {TRIES} tries")


def table(measured: dict[str, Counted]) -> str:
    (base_work, base), (patched_work, patched) = (measured[kernel] for kernel in paths.KERNELS)
    rows = ["| | base | patched | more |", "|---|---|---|---|"]

    def row(name: str, before: int, after: int) -> None:
        rows.append(f"| {name} | {before} | {after} | {after - before:+} |")

    row("instructions, all", base_work.cost, patched_work.cost)
    for name, before in base_work.work.items():
        row(name, before, patched_work.work[name])
    names = sorted(base.keys() | patched.keys(), key=lambda name: -abs(patched[name] - base[name]))
    for name in names:
        if abs(patched[name] - base[name]) >= LEAST:
            row(f"`{name}`", base[name], patched[name])
    return "\n".join(rows)


if __name__ == "__main__":
    try:
        print(table(measure()))
    except Failure as failure:
        sys.exit(f"error: {failure}")
