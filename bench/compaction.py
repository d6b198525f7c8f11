# SPDX-License-Identifier: GPL-2.0
"""What compaction costs where pageblocks are checked: on the base with zone->contiguous as hotplug leaves it (false),
on the base with the flag set by a module, and patched, where the flag is gone and pageblocks are looked at under RCU.

Guests run with `-icount shift=0`: CPU time in the guest is instructions. "empty" is what compact_memory takes for
memory with nothing in it, which is checking pageblocks and nothing else. "huge" is work: huge pages out of boot memory
of which every second page is in use, by direct compaction. What course that takes depends on what is free at its
begin, more than on all else. So it is done with more and less of that, and kernels are compared by what the same work
costs: the instructions are fitted, for both kernels at once, by what compaction counts of its work (pages that each
scanner passes, pages isolated, huge pages), and by a factor for the patched kernel.
"""

from dataclasses import dataclass, field

import numpy

from bench.blocks import CMDLINE, SECONDS
from vmtest import module, paths
from vmtest.cmdline import MOVABLE
from vmtest.qemu import Machine
from vmtest.units import MIB
from vmtest.vm import VM

FLAG = "bench/contiguous"
EMPTY, MEMORY = "64G", "3G"
LEFT = range(196, 356, 10)  # MiB that are free at the begin
HUGE = 300
ROUNDS = 3
WORK = ("compact_migrate_scanned", "compact_free_scanned", "compact_isolated")
FILES = "mkdir /files && mount -t tmpfs -o size=100% tmpfs /files"


@dataclass
class Huge:
    """Huge pages out of fragmented memory."""

    left: int  # MiB that were free
    cost: int  # instructions
    got: int  # how many came, of HUGE
    work: dict[str, int]  # what compaction counted


@dataclass
class Compaction:
    empty: int  # instructions for EMPTY with nothing in it, the least of some rounds
    huge: list[Huge] = field(default_factory=list)


def guest(kernel: str, vmem: list[str], memory: str, plugin: str = "") -> VM:
    cmdline = f"{CMDLINE} {MOVABLE} {'nokaslr' if plugin else ''}"
    machine = Machine(paths.measured(kernel), vmem, memory, cmdline, count_instructions=True, plugin=plugin)
    return VM(f"compaction-{kernel}", machine)


def measure_empty(kernel: str, flag: bool) -> int:
    with guest(kernel, [EMPTY], "2G") as vm:
        vm.vmem[0].resize(EMPTY, seconds=SECONDS)
        if flag:
            module.load(vm, FLAG)
        return min(int(vm.sh("fragment all", SECONDS)) for _ in range(ROUNDS))


def measure_huge(kernel: str, left: int, plugin: str = "") -> Huge:
    with guest(kernel, [], MEMORY, plugin) as vm:
        fill = vm.meminfo()["MemFree"] // MIB - left
        vm.sh(f"cd /sys/kernel/mm/transparent_hugepage && echo always >enabled && echo always >defrag; {FILES}")
        cost, got = map(int, vm.sh(f"cd /files; fragment {fill} {HUGE}", SECONDS).split())
        counted = dict(line.split() for line in vm.sh("grep ^compact_ /proc/vmstat").splitlines())
    print(f"  {kernel:8} {left} MiB free: {cost / 1e6:.1f} M instructions for {got} of {HUGE}", flush=True)
    return Huge(left, cost, got, {name: int(counted[name]) for name in WORK})


def measure_one(kernel: str) -> Compaction:
    return Compaction(measure_empty(kernel, False), [measure_huge(kernel, left) for left in LEFT])


def at_the_same_work(base: list[Huge], patched: list[Huge]) -> tuple[float, float]:
    """What the patched kernel takes where the base takes 1, and the standard error of that. Least squares of
    cost / estimate, so that each run weighs the same."""
    runs = [(0, one) for one in base] + [(1, one) for one in patched]
    cost = numpy.array([one.cost for _, one in runs], dtype=float)
    work = numpy.array([[*one.work.values(), one.got, 1] for _, one in runs], dtype=float)
    is_patched = numpy.array([which for which, _ in runs], dtype=float)
    scale = work.max(axis=0)
    rows = numpy.column_stack([work / scale / cost[:, None], is_patched])
    fitted, *_ = numpy.linalg.lstsq(rows, numpy.ones(len(runs)), rcond=None)
    left = numpy.ones(len(runs)) - rows @ fitted
    variance = left @ left / (len(runs) - rows.shape[1])
    error = numpy.sqrt(variance * numpy.linalg.inv(rows.T @ rows)[-1, -1])
    return 1 + float(fitted[-1]), float(error)


def measure() -> tuple[dict[str, Compaction], int]:
    """By kernel, and `empty` of the base with the flag."""
    print("What compaction costs:", flush=True)
    return {kernel: measure_one(kernel) for kernel in paths.KERNELS}, measure_empty("base", True)


def table(measured: tuple[dict[str, Compaction], int]) -> str:
    kernels, flag = measured
    rows = [f"| M instructions | {EMPTY}, empty | a huge page | huge pages |", "|---" * 4 + "|"]
    for name, result in kernels.items():
        got = sum(one.got for one in result.huge)
        each = sum(one.cost for one in result.huge) / got
        rows.append(f"| {name} | {result.empty / 1e6:.2f} | {each / 1e6:.3f} | {got} of {HUGE * len(LEFT)} |")
    ratio, error = at_the_same_work(kernels["base"].huge, kernels["patched"].huge)
    rows.append(f"| base, flag set | {flag / 1e6:.2f} | | |")
    return "\n".join(rows) + f"\n\nFor the same work, patched takes {ratio:.4f} of base, standard error {error:.4f}."


if __name__ == "__main__":
    print(table(measure()))
