# SPDX-License-Identifier: GPL-2.0
"""What a memory block costs to plug and to unplug, against the number of blocks that are there.

Guests run with `-icount shift=0`: CPU time in the guest is the number of instructions it executed,
which does not depend on the machine or on what else it does. A module in the guest notes it whenever
a block has gone online or offline.
"""

from dataclasses import dataclass
from statistics import median
from typing import Any

from matplotlib.figure import Figure  # type: ignore[import]

from vmtest import module, paths
from vmtest.cmdline import HOSTED, MOVABLE, ONLINE
from vmtest.qemu import Machine
from vmtest.units import GIB, MIB, PAGE, STRUCT_PAGE, parse_size
from vmtest.vm import VM
from vmtest.wait import wait_until

MODULE, FILE = "bench/block_cost", "/sys/kernel/debug/block_cost"
NOT_EXPORTED = ("task_sched_runtime",)
MODES = {
    "online_movable": MOVABLE,
    "online": ONLINE,
    "online_movable, map hosted": f"{MOVABLE} {HOSTED}",
    "online, map hosted": f"{ONLINE} {HOSTED}",
    "auto-movable": f"{ONLINE} memory_hotplug.online_policy=auto-movable",
}
SIZE, QUICK_SIZE = "256G", "64G"
# Pages that were never touched are not poisoned: a debugging aid that distributions do not have.
CMDLINE = "vm_debug=-"
SECONDS = 1200.0
# No memory block is plugged with less than this: its memory map is stored once, 8 bytes at a time.
LEAST = 128 * MIB // PAGE * STRUCT_PAGE // 8
AROUND = 8  # blocks before and after one, of which the median is taken

Costs = dict[int, int]  # number of blocks that are there -> instructions for one more, or less


@dataclass
class Measured:
    """One guest that was given all memory and gave all back."""

    plug: Costs
    unplug: Costs
    plug_all: int  # instructions for all blocks together
    unplug_all: int


def measure_mode(kernel: str, cmdline: str, size: str) -> Measured:
    machine = Machine(
        paths.measured(kernel), [size], "8G", f"{CMDLINE} {cmdline}", count_instructions=True
    )
    with VM(f"blocks-{kernel}", machine) as vm:
        return grow_and_shrink(vm, size)


def grow_and_shrink(vm: VM, size: str) -> Measured:
    vm.sh(module.insmod(module.bring(vm, MODULE), NOT_EXPORTED))
    plug = change(vm, size)
    unplug = change(vm, "0")
    return Measured(costs(plug), costs(unplug[::-1]), sum(plug), sum(unplug))


def change(vm: VM, size: str) -> list[int]:
    """Gives or takes memory; what each block but the first costs, in order."""
    vm.sh(f": >{FILE}")
    vm.vmem[0].request(size)
    want = parse_size(size)
    # What the kernel has come to use for itself stays.
    wait_until(
        lambda: want <= vm.vmem[0].plugged() <= want + GIB,
        lambda: f"{vm.name}: {vm.vmem[0].plugged() / GIB:.1f} GiB plugged, {size} requested",
        SECONDS,
    )
    lines = vm.sh(f"cat {FILE}", 120).splitlines()
    return [int(line.split()[1]) for line in lines]


def costs(blocks: list[int]) -> Costs:
    """At powers of two, and at the end."""
    there = [2**power for power in range(3, 14) if 2**power < len(blocks) - AROUND]
    there.append(len(blocks) - AROUND)
    return {at: round(median(blocks[slice(at - AROUND, at + AROUND)])) for at in there}


def measure(quick: bool) -> dict[str, dict[str, Measured]]:
    """By mode and kernel. What grows with the square of the size is shown once."""
    print("Memory blocks, counted in instructions:", flush=True)
    measured: dict[str, dict[str, Measured]] = {}
    for mode, cmdline in list(MODES.items())[: 1 if quick else None]:
        size = QUICK_SIZE if quick or measured else SIZE
        measured[mode] = {}
        for kernel in paths.KERNELS:
            print(f"  {kernel:8} {mode}, up to {size} and back", flush=True)
            measured[mode][kernel] = measure_mode(kernel, cmdline, size)
    return measured


def table(measured: dict[str, dict[str, Measured]]) -> str:
    """Millions of instructions for a block, and at the end, how many times LEAST that is."""
    lines = []
    guests = [guest for kernels in measured.values() for guest in kernels.values()]
    counts = sorted({at for guest in guests for at in (*guest.plug, *guest.unplug)})
    for mode, kernels in measured.items():
        for what in ("plug", "unplug"):
            for kernel, guest in kernels.items():
                by_blocks: Costs = getattr(guest, what)
                cells = [f"{by_blocks[at] / 1e6:.2f}" if at in by_blocks else "" for at in counts]
                last = list(by_blocks.values())[-1] / LEAST
                lines.append(f"| {what}, {mode}, {kernel} | {' | '.join(cells)} | {last:.1f} |")
    head = ["million instructions a block, at", *map(str, counts), "times the stores of its memory map"]
    faster = "".join(
        f"\n{mode}: all of it is plugged with {kernels['base'].plug_all / kernels['patched'].plug_all:.1f}"
        f" times fewer instructions, unplugged with"
        f" {kernels['base'].unplug_all / kernels['patched'].unplug_all:.1f} times fewer"
        for mode, kernels in measured.items()
    )
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines]) + "\n" + faster


def plot(measured: dict[str, dict[str, Measured]], file: Any) -> None:
    figure = Figure(figsize=(10, 5.5))
    both = figure.subplots(1, 2)
    for what, axes in zip(("plug", "unplug"), both):
        for kernel, colour in (("base", "tab:red"), ("patched", "tab:green")):
            for (mode, kernels), style in zip(measured.items(), ("-o", "--s", ":^", "-.x", ":d")):
                by_blocks: Costs = getattr(kernels[kernel], what)
                per_block = [count / 1e6 for count in by_blocks.values()]
                axes.plot(list(by_blocks), per_block, style, color=colour, markersize=4,
                          label=f"{kernel}, {mode}")
        bound = LEAST / 1e6
        axes.axhline(bound, color="black", linewidth=1, label="storing its memory map once, 8 bytes at a time")
        axes.set_xlabel("memory blocks that are there, of 128 MiB")
        axes.set_ylabel(f"million instructions to {what} one")
        axes.set_ylim(bottom=0)
        axes.grid(True, alpha=0.3)
    figure.legend(*both[0].get_legend_handles_labels(), loc="lower center", ncols=3, fontsize=8)
    figure.suptitle("What a memory block costs: flat is constant")
    figure.tight_layout(rect=(0, 0.15, 1, 1))  # the legend is below
    figure.savefig(file, dpi=100)
