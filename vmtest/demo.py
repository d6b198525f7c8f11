# SPDX-License-Identifier: GPL-2.0
"""The same story on the base and on the patched kernel, side by side on one screen."""

import time
from dataclasses import dataclass
from itertools import zip_longest
from typing import Iterable, Union

from vmtest import growth
from vmtest.cmdline import MOVABLE
from vmtest.elf import Load
from vmtest.errors import Failure
from vmtest.iomem import Resource
from vmtest.paths import KERNELS
from vmtest.qemu import Machine
from vmtest.units import GIB, MIB
from vmtest.vm import VM

LABEL, COLUMN = "{:24}", "{:36}"


@dataclass
class Step:
    """A guest after one step of the story."""

    title: str
    seconds: float
    plugged: list[Resource]  # what the device has added, in /proc/iomem
    dumped: list[Load]  # the same memory in the header of a crash dump
    resources: int
    total: int

    def rows(self) -> list[tuple[str, list[str]]]:
        """What to show: a label, and its lines."""
        return [
            ("  in /proc/iomem", [f"{ram.start:x}-{ram.end:x}" for ram in self.plugged] or ["-"]),
            ("  a crash dump has", [str(load) for load in self.dumped] + [self.judged()]),
            ("  resources, MemTotal", [f"{self.resources}, {self.total // MIB} MiB"]),
            ("  seconds", [f"{self.seconds:.1f}"]),
        ]

    def judged(self) -> str:
        """Whether a dump would hold exactly what is plugged."""
        plugged, dumped = mebibytes(self.plugged), mebibytes(self.dumped)
        if plugged == dumped:
            return "= what is plugged"
        return f"WRONG: {len(dumped - plugged)} MiB are gone, {len(plugged - dumped)} missing"


def mebibytes(ranges: Iterable[Union[Resource, Load]]) -> set[int]:
    return {number for r in ranges for number in range(r.start // MIB, (r.end + 1) // MIB)}


def entries(lines: list[str]) -> set[str]:
    return {line.strip() for line in lines}


class Story:
    def __init__(self, kernel: str) -> None:
        self.kernel = kernel
        self.release = ""
        self.steps: list[Step] = []
        self.missed = 0  # entries that were there all along, but not for a reader
        self.dimm: list[Load] = []  # what a crash dump has of a DIMM that was removed

    def play(self) -> None:
        started = time.monotonic()
        cmdline = f"crashkernel=128M {MOVABLE}"
        with VM(f"demo-{self.kernel}", Machine(self.kernel, vmem=["8G"], cmdline=cmdline)) as vm:
            self.release = vm.sh("uname -r")
            vm.crash.load()
            self.note(vm, "512 MiB guest, crash kernel loaded", started)

            for size, title in [("2G", "plug 2 GiB"), ("4G", "plug 2 GiB more")]:
                started = time.monotonic()
                vm.vmem[0].resize(size)
                self.note(vm, title, started)

            # An offline block is the first that the driver gives back: a hole in the middle.
            started = time.monotonic()
            middle = vm.iomem().one("virtio0").start + 2 * GIB
            vm.set_state("offline", vm.block_at(middle))
            vm.vmem[0].resize("3G")
            self.note(vm, "unplug 1 GiB, a block in the middle first", started)

            before = entries(vm.iomem().text.splitlines())
            seen = entries(vm.read_iomem_while(lambda: vm.vmem[0].resize("0")))
            self.missed = len((before & entries(vm.iomem().text.splitlines())) - seen)
            print(f"  {self.kernel:8} unplug the rest while somebody reads /proc/iomem", flush=True)

            vm.dimms.add("dimm0", "1G")
            start = vm.dimms.start("dimm0")
            vm.dimms.remove("dimm0")
            self.dimm = [load for load in vm.crash.header() if start <= load.start < start + GIB]
            print(f"  {self.kernel:8} add a DIMM of 1 GiB, and remove it", flush=True)
            complaints = vm.complaints()
        if complaints:
            raise Failure(f"the {self.kernel} kernel complains:\n" + "\n".join(complaints))

    def note(self, vm: VM, title: str, started: float) -> None:
        seconds = time.monotonic() - started
        iomem = vm.iomem()
        device = iomem.one("virtio0")
        dumped = [load for load in vm.crash.header() if device.start <= load.end <= device.end]
        total = vm.meminfo()["MemTotal"]
        step = Step(title, seconds, device.children, dumped, len(iomem), total)
        self.steps.append(step)
        print(f"  {self.kernel:8} {title} ({seconds:.1f} s)", flush=True)


def row(label: str, cells: Iterable[str]) -> str:
    return (LABEL.format(label) + "".join(map(COLUMN.format, cells))).rstrip()


def screen(stories: list[Story]) -> str:
    """All steps of all stories, a column for each kernel."""
    lines = [row("", [f"{story.kernel} ({story.release})" for story in stories])]
    for steps in zip(*(story.steps for story in stories)):
        lines.append(steps[0].title)
        for items in zip(*(step.rows() for step in steps)):
            label = items[0][0]
            for cells in zip_longest(*(values for _, values in items), fillvalue=""):
                lines.append(row(label, cells))
                label = ""
    lines.append("unplug the rest while somebody reads /proc/iomem")
    missed = [f"{story.missed} not shown" for story in stories]
    lines.append(row("  entries that stayed", missed))
    lines.append("add a DIMM of 1 GiB, and remove it")
    dumped = [", ".join(map(str, story.dimm)) + " of it: WRONG" if story.dimm else "nothing of it"
              for story in stories]
    lines.append(row("  a crash dump has", dumped))
    return "\n".join(lines)


GROWN = ["1G", "16G", "64G", "256G"]


def grown_screen(guests: list[growth.Growth]) -> str:
    """How far each guest got, and what of the memory it booted with that took."""
    lines = ["boot memory taken per GiB, and /proc/iomem"]
    for number, size in enumerate(GROWN):
        cells = ["-"] * len(guests)
        for column, guest in enumerate(guests):
            if number < len(guest.steps):
                step = guest.steps[number]
                cells[column] = f"{step.per_gib():.0f} KiB, {len(step.lines)} line"
        lines.append(row(f"  at {size[:-1]} GiB", cells))
    lines.append(row("in the end", [guest.end for guest in guests]))
    lines.append(row("  taken from the host", [f"{guest.host // MIB} MiB" for guest in guests]))
    return "\n".join(lines)


def main() -> int:
    print("A 512 MiB guest with a virtio-mem device under QEMU, on either kernel:", flush=True)
    stories = [Story(kernel) for kernel in KERNELS]
    for story in stories:
        story.play()
    print()
    print(screen(stories))
    print("\nA 256 MiB guest is given 256 GiB, with memory_hotplug.memmap_on_memory=1:", flush=True)
    guests = [growth.grow(kernel, "256M", GROWN) for kernel in KERNELS]
    print()
    print(row("", KERNELS))
    print(grown_screen(guests))
    print("Look closer: `make shell` for a guest of your own, `make test` for every scenario.")
    return 0
