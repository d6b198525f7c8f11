# SPDX-License-Identifier: GPL-2.0
"""What the cost of a memory block is made of: which functions of the kernel run while memory is plugged and unplugged,
with few and with many memory blocks there.

The guest is stopped again and again, and asked where it is. A function has its share of these samples, times what a
block costs in instructions, which is exact. The share is not: the samples are taken in time, so that instructions
count for more where the host is slow with them, as where they miss its caches.
"""

import bisect
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import mean

from bench.blocks import CMDLINE, FILE, MODES, MODULE, NOT_EXPORTED, SECONDS
from vmtest import module, paths
from vmtest.errors import Failure
from vmtest.qemu import Machine
from vmtest.units import MIB, parse_size
from vmtest.vm import VM

LEVELS = (64, 256, 1024, 1984)
BLOCK = 128 * MIB
STEP = 64  # blocks that are plugged and unplugged while the guest is sampled
SAMPLES = 600
ROUNDS = 12  # at the most
ROWS, LEAST = 7, 0.02  # functions that a table has, and what one needs on average, in million instructions
IDLE = re.compile(r"idle|halt|mwait")
KERNEL = 1 << 63


class Symbols:
    """The kernel's functions by address; it runs where it was linked to (nokaslr)."""

    def __init__(self, kernel: str) -> None:
        lines = paths.built(kernel, "System.map").read_text().splitlines()
        table = sorted((int(address, 16), name) for address, kind, name in map(str.split, lines) if kind in "tTwW")
        self._addresses = [address for address, _ in table]
        self._names = [name for _, name in table]
        self._end = next(int(line.split()[0], 16) for line in lines if line.endswith(" _einittext"))

    def name(self, address: int) -> str:
        if address > self._end:
            return "virtio_mem.ko"
        return self._names[bisect.bisect(self._addresses, address) - 1]


@dataclass
class Shares:
    """Of one kernel, with so many memory blocks there."""

    cost: dict[str, float] = field(default_factory=dict)  # of plug and unplug: instructions a block
    samples: dict[str, Counter[str]] = field(default_factory=lambda: {"plug": Counter(), "unplug": Counter()})

    def millions(self, what: str) -> dict[str, float]:
        """Of instructions a block, by function."""
        samples = self.samples[what]
        return {name: count / samples.total() * self.cost[what] / 1e6 for name, count in samples.items()}


def sampled(vm: VM, symbols: Symbols, blocks: int) -> Counter[str]:
    """Asks for so many blocks; where the guest is until it has them."""
    found: Counter[str] = Counter()
    vm.vmem[0].request(str(blocks * BLOCK))
    deadline = time.monotonic() + SECONDS
    while (plugged := vm.vmem[0].plugged()) != blocks * BLOCK:
        if time.monotonic() > deadline:
            raise Failure(f"{vm.name}: {plugged // BLOCK} of {blocks} blocks after {SECONDS:.0f} s\n{vm.last_words()}")
        vm.qemu("stop")
        registers = vm.qemu("human-monitor-command", **{"command-line": "info registers"})
        vm.qemu("cont")
        match = re.search(r"RIP=(\w+)", registers)
        assert match is not None
        address = int(match[1], 16)
        if address >= KERNEL:
            found[symbols.name(address)] += 1
    return Counter({name: count for name, count in found.items() if not IDLE.search(name)})


def block_cost(vm: VM) -> float:
    costs = [int(line.split()[1]) for line in vm.sh(f"cat {FILE}; : >{FILE}").splitlines()]
    return mean(costs)


def measure_kernel(kernel: str) -> dict[int, Shares]:
    measured = paths.measured(kernel)
    symbols = Symbols(measured)
    cmdline = f"{CMDLINE} nokaslr {MODES['online_movable']}"
    machine = Machine(measured, [str(parse_size("256G"))], "8G", cmdline, count_instructions=True)
    levels = {}
    with VM(f"shares-{kernel}", machine) as vm:
        vm.sh(module.insmod(module.bring(vm, MODULE), NOT_EXPORTED))
        for level in LEVELS:
            vm.vmem[0].resize(str(level * BLOCK), seconds=SECONDS)
            vm.sh(f": >{FILE}")
            shares = levels[level] = Shares()
            for _ in range(ROUNDS):
                for what, blocks in (("plug", level + STEP), ("unplug", level)):
                    shares.samples[what] += sampled(vm, symbols, blocks)
                    vm.driver.settle()
                    shares.cost[what] = block_cost(vm)
                if min(samples.total() for samples in shares.samples.values()) >= SAMPLES:
                    break
            print(f"  {kernel:8} {level} blocks", flush=True)
    return levels


def measure() -> dict[str, dict[int, Shares]]:
    print("Where the guest is while memory is plugged and unplugged:", flush=True)
    return {kernel: measure_kernel(kernel) for kernel in paths.KERNELS}


def table(measured: dict[str, dict[int, Shares]]) -> str:
    lines = []
    for what in ("plug", "unplug"):
        for kernel, levels in measured.items():
            lines += ["", f"{what}, {kernel}: million instructions a block, by function", ""]
            lines += [f"| with so many blocks | {' | '.join(map(str, levels))} |", "|---" * (1 + len(levels)) + "|"]
            by_level = [shares.millions(what) for shares in levels.values()]
            names = {name for millions in by_level for name in millions}
            rows = {f"`{name}`": [millions.get(name, 0) for millions in by_level] for name in names}
            rows = {name: row for name, row in rows.items() if mean(row) >= LEAST}
            rows = dict(sorted(rows.items(), key=lambda item: -mean(item[1]))[:ROWS])
            shown = [sum(column) for column in zip(*rows.values())] or [0.0] * len(levels)
            rows["all else"] = [sum(millions.values()) - count for millions, count in zip(by_level, shown)]
            rows["all"] = [shares.cost[what] / 1e6 for shares in levels.values()]
            lines += [f"| {name} | {' | '.join(f'{count:.2f}' for count in row)} |" for name, row in rows.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
