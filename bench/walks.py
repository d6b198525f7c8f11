# SPDX-License-Identifier: GPL-2.0
"""Steps through the resource tree: instructions that a walk or a read of /proc/iomem takes.

Guests run with `-icount shift=0`: time in the guest is the number of instructions it executed, so
the numbers are exact and do not depend on the machine or on what else it does.
"""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure  # type: ignore[import]

from vmtest import module, paths
from vmtest.errors import Failure
from vmtest.qemu import Machine
from vmtest.vm import VM

SIZES = (64, 1024, 16384)
# The slowest, 16384 resources on the base, takes about a minute.
SECONDS = 580.0
NOT_EXPORTED = (
    "walk_system_ram_res", "walk_system_ram_res_rev", "walk_mem_res", "walk_system_ram_range",
)

# kernel -> number of resources -> function -> instructions per entry found
Measured = dict[str, dict[int, dict[str, float]]]


def load(vm: VM, file: str, size: int, parameters: str = "") -> str:
    """Runs the module for that many resources; its result."""
    return vm.sh(
        module.insmod(file, NOT_EXPORTED, f"nr={size} {parameters}")
        + " && cat /sys/module/walk_steps/parameters/result && rmmod walk_steps",
        SECONDS,
    )


def count(kernel: str) -> dict[int, dict[str, float]]:
    machine = Machine(paths.measured(kernel), count_instructions=True)
    counts: dict[int, dict[str, float]] = {}
    with VM(f"bench-{kernel}", machine) as vm:
        for size in SIZES:
            counts[size] = count_in(vm, size)
            print(f"  {kernel:8} {size} resources walked", flush=True)
    return counts


def count_in(vm: VM, size: int) -> dict[str, float]:
    """Function -> instructions for each entry that it finds."""
    counts = {}
    for line in load(vm, module.bring(vm, "bench/walk_steps"), size).split("\n"):
        name, instructions, entries = line.split()
        if int(entries) < size:
            raise Failure(f"{name} finds {entries} of {size} resources in {vm.name}")
        counts[name] = round(int(instructions) / int(entries), 1)
    return counts


def wait_for_reader(kernel: str) -> tuple[int, int]:
    """How long a request for a region takes while somebody reads /proc/iomem: mean and longest, in ns by the clock."""
    with VM(f"bench-{kernel}", Machine(paths.measured(kernel), smp=2)) as vm:
        file = module.bring(vm, "bench/walk_steps")
        mean, longest = load(vm, file, SIZES[-1], "readers=1").split()
        print(f"  {kernel:8} a request waits {int(mean) / 1e3:.0f} us, {int(longest) / 1e3:.0f} at most", flush=True)
        return int(mean), int(longest)


def wait() -> dict[str, tuple[int, int]]:
    print(f"Requests for a region while /proc/iomem is read, with {SIZES[-1]} entries:", flush=True)
    return {kernel: wait_for_reader(kernel) for kernel in paths.KERNELS}


def measure() -> Measured:
    print("Walks of the resource tree, counted in instructions:", flush=True)
    return {kernel: count(kernel) for kernel in paths.KERNELS}


def table(measured: Measured) -> str:
    lines = ["| instructions per entry, of | " + " | ".join(
        f"{kernel}, {size}" for size in SIZES for kernel in paths.KERNELS) + " |"]
    lines.append("|---" * (1 + len(SIZES) * len(paths.KERNELS)) + "|")
    for name in measured["base"][SIZES[0]]:
        cells = [
            f"{measured[kernel][size][name]:,.0f}"
            for size in SIZES for kernel in paths.KERNELS
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(measured: Measured, file: Path) -> None:
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    colours = {"base": "tab:red", "patched": "tab:green"}
    marks: dict[str, Any] = dict(zip(measured["base"][SIZES[0]], "osv^Dx"))
    for kernel, counts in measured.items():
        for name, mark in marks.items():
            per_entry = [counts[size][name] for size in SIZES]
            axes.plot(SIZES, per_entry, marker=mark, color=colours[kernel],
                      label=f"{kernel}: {name}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(SIZES, [str(size) for size in SIZES])
    axes.set_xlabel("resources in the tree")
    axes.set_ylabel("instructions per entry (flat is linear)")
    axes.set_title("Walking the resource tree once")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=7, ncol=2)
    figure.tight_layout()
    figure.savefig(file, dpi=100)


if __name__ == "__main__":
    print(table(measure()))
    wait()
