# SPDX-License-Identifier: GPL-2.0
"""How long a guest takes for a lot of memory, by the clock, with CPUs of its own at work and without.

    bench/clock.py [KERNEL...]   bench-base and bench-patched, or others below build/obj

A grace period waits for other CPUs, so neither instructions nor one CPU show what that costs. The base dies
where memory goes while it compacts, so its figures there are missing.
"""

import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.looks import COMPACT  # noqa: E402
from bench.memmap import MEMORY, touch  # noqa: E402
from vmtest import growth, paths  # noqa: E402
from vmtest.errors import Failure  # noqa: E402
from vmtest.qemu import Machine  # noqa: E402
from vmtest.units import parse_size  # noqa: E402
from vmtest.vm import VM  # noqa: E402

SIZE = "256G"
CPUS = (2, 4)
LOOPS = (0, 2)  # of compaction
ROUNDS = 5  # of all kernels in turn

Seconds = tuple[float, float]  # up and down
Measured = dict[str, dict[str, list[Seconds]]]  # CPUs and loops -> kernel -> rounds


def measure_one(kernel: str, cpus: int, loops: int) -> Seconds:
    with VM("clock", Machine(kernel, [SIZE], MEMORY, growth.CMDLINE, smp=cpus)) as vm:
        vm.sh(f"for i in $(seq {loops}); do {{ {COMPACT}; }} >/dev/null 2>&1 & done")
        marks = [time.monotonic()]
        for size in (SIZE, "0"):
            growth.advance(vm, size)
            marks.append(time.monotonic())
        return marks[1] - marks[0], marks[2] - marks[1]


def measure(kernels: list[str], rounds: int = ROUNDS) -> Measured:
    print(f"A guest with {MEMORY} is given {SIZE} and gives it back:", flush=True)
    result: Measured = {}
    for cpus in CPUS:
        for loops in LOOPS:
            name = f"{cpus} CPUs, {loops} loops of compaction"
            result[name] = {kernel: [] for kernel in kernels}
            for _ in range(rounds):
                for kernel, seconds in result[name].items():
                    touch(parse_size(MEMORY))
                    try:
                        seconds.append(measure_one(kernel, cpus, loops))
                        said = f"{seconds[-1][0]:.2f} s up, {seconds[-1][1]:.2f} s down"
                    except Failure as failure:
                        said = str(failure).splitlines()[0]
                    print(f"  {name}: {kernel} {said}", flush=True)
    return result


def table(measured: Measured) -> str:
    kernels = list(next(iter(measured.values())))
    rows = [f"| seconds for {SIZE}, up and down | {' | '.join(kernels)} |", "|---" * (1 + len(kernels)) + "|"]
    for name, by_kernel in measured.items():
        cells = []
        for seconds in by_kernel.values():
            cells.append(", ".join(f"{median(way):.2f}" for way in zip(*seconds)) or "died")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(measure(sys.argv[1:] or [paths.measured(kernel) for kernel in paths.KERNELS])))
