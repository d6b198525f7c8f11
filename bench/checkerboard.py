# SPDX-License-Identifier: GPL-2.0
"""Every second memory block is unplugged, the worst that can happen to what merges: each round leaves
more entries in /proc/iomem. With and without a crash kernel loaded, whose header has all of them.

Counted in instructions of all that runs in the guest, which has nothing else to do.
"""

from dataclasses import dataclass
from typing import Iterator

from vmtest import paths
from vmtest.cmdline import CRASHKERNEL, MOVABLE
from vmtest.qemu import Machine
from vmtest.units import GIB
from vmtest.linux import MEMORY
from vmtest.vm import VM

SIZE, QUICK_SIZE = "128G", "32G"  # 1024 blocks, of which 512 go
ROUNDS = 4
CMDLINE = f"vm_debug=- {CRASHKERNEL} {MOVABLE}"
TICK = 10_000_000  # instructions, in /proc/stat
SECONDS = 600.0


@dataclass
class Checkerboard:
    unplug: dict[int, float]  # entries in /proc/iomem afterwards -> instructions a block
    load: dict[int, float]  # entries -> instructions to load a crash kernel
    read: dict[int, float]  # entries -> instructions to read /proc/iomem
    slab: int  # bytes more than before anything was unplugged


def used(vm: VM) -> int:
    """Instructions that were executed so far, but for waiting."""
    user, nice, system, _, _, irq, softirq = vm.sh("head -n 1 /proc/stat").split()[1:8]
    return sum(map(int, (user, nice, system, irq, softirq))) * TICK


def cost(vm: VM, script: str, times: int = 1) -> float:
    before = used(vm)
    vm.sh(f"for i in $(seq {times}); do {script}; done", SECONDS)
    return (used(vm) - before) / times


def rounds(first: int, blocks: int) -> Iterator[range]:
    """The numbers of the blocks that go in each round."""
    each = blocks // ROUNDS
    for start in range(first, first + blocks, each):
        yield range(start, start + each, 2)


def play(kernel: str, size: str, crash_kernel: bool) -> Checkerboard:
    gib = int(size[:-1])
    result = Checkerboard({}, {}, {}, 0)
    machine = Machine(paths.measured(kernel), [size], "4G", CMDLINE, count_instructions=True)
    with VM(f"checkerboard-{kernel}", machine) as vm:
        vm.vmem[0].resize(size, seconds=SECONDS)

        def note() -> int:
            entries = len(vm.iomem())
            result.read[entries] = cost(vm, "cat /proc/iomem >/dev/null", 20)
            if crash_kernel:
                result.load[entries] = cost(vm, vm.crash.loader(), 4)
            return entries

        note()
        slab = vm.meminfo()["Slab"]
        first = vm.iomem().one("virtio0").start // vm.block_size
        left = gib * GIB
        for blocks in rounds(first, left // vm.block_size):
            before = used(vm)
            states = " ".join(f"memory{number}" for number in blocks)
            vm.sh(f"cd {MEMORY}; for b in {states}; do echo offline >$b/state; done", SECONDS)
            left -= len(blocks) * vm.block_size
            vm.vmem[0].resize(str(left), seconds=SECONDS)
            unplug = (used(vm) - before) / len(blocks)
            result.unplug[note()] = unplug
        result.slab = vm.meminfo()["Slab"] - slab
    return result


def measure(quick: bool) -> dict[str, dict[str, Checkerboard]]:
    """By whether a crash kernel is loaded, and kernel."""
    size = QUICK_SIZE if quick else SIZE
    print(f"Every second memory block of {size} is unplugged:", flush=True)
    measured: dict[str, dict[str, Checkerboard]] = {}
    for crash_kernel in (False, True):
        name = "crash kernel loaded" if crash_kernel else "no crash kernel"
        measured[name] = {}
        for kernel in paths.KERNELS:
            print(f"  {kernel:8} {name}", flush=True)
            measured[name][kernel] = play(kernel, size, crash_kernel)
    return measured


def table(measured: dict[str, dict[str, Checkerboard]]) -> str:
    lines = []
    for name, kernels in measured.items():
        for kernel, result in kernels.items():
            head = [f"{entries}" for entries in result.unplug]
            for what, costs in (("unplug a block", result.unplug), ("load a crash kernel", result.load),
                                ("read /proc/iomem", result.read)):
                cells = [f"{value / 1e6:.1f}" for value in list(costs.values())[-ROUNDS:]]
                if cells:
                    lines.append(f"| {what}, {name}, {kernel} | {' | '.join(cells)} |")
    head = ["million instructions, entries in /proc/iomem", *head]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines])
