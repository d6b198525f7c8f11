# SPDX-License-Identifier: GPL-2.0
"""A guest that starts small and is given a lot: how far it gets, and what of its first memory it pays."""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from vmtest.cmdline import HOSTED_MOVABLE
from vmtest.errors import Failure
from vmtest.qemu import Machine
from vmtest.units import GIB, KIB, parse_size
from vmtest.vm import VM
from vmtest.wait import POLL_SECONDS

CMDLINE = HOSTED_MOVABLE
STUCK_SECONDS = 30.0  # without a memory block more


@dataclass
class Step:
    """A guest that has been given `size`."""

    size: str
    seconds: float  # since the step before
    taken: int  # of the memory the guest booted with, in bytes, since it was given nothing
    lines: list[str]  # of the device in /proc/iomem

    def per_gib(self) -> float:
        """What each GiB takes of the memory the guest booted with, in KiB."""
        return self.taken / KIB / (parse_size(self.size) / GIB)


@dataclass
class Growth:
    kernel: str
    steps: list[Step] = field(default_factory=list)
    down: float = 0  # seconds to take all back
    end: str = ""  # what became of the guest
    host: int = 0  # the most memory of the host it took, in bytes


def grow(kernel: str, memory: str, sizes: list[str]) -> Growth:
    """Boots a guest with `memory`, gives it each of `sizes` in turn and takes all back again."""
    growth = Growth(kernel)
    with VM(f"grow-{kernel}", Machine(kernel, [sizes[-1]], memory, CMDLINE)) as vm:
        before, free = vm.snapshot(), vm.boot_memory_free()
        try:
            for size in [*sizes, "0"]:
                started = time.monotonic()
                advance(vm, size)
                seconds = time.monotonic() - started
                print(f"  {kernel:8} {size:>5} plugged ({seconds:.1f} s)", flush=True)
                lines = [str(ram) for ram in vm.iomem().under("virtio0")]
                if size == "0":
                    growth.down = seconds
                else:
                    taken = free - vm.boot_memory_free()
                    growth.steps.append(Step(size, seconds, taken, lines))
                    growth.host = peak(vm.pid)
            # A guest that gets stuck may say why; one that gets through has nothing to complain of.
            same = vm.snapshot() == before and not vm.complaints()
            growth.end = "back to 0, " + ("as before" if same else "NOT as before")
        except Failure as failure:
            growth.end = last_words(vm) or str(failure).splitlines()[0]
            print(f"  {kernel:8} {growth.end}", flush=True)
    return growth


def advance(vm: VM, size: str) -> None:
    """Asks for `size` and waits; fails once nothing comes of it any more, or the guest died."""
    device = vm.vmem[0]
    device.request(size)
    want, plugged, since = parse_size(size), device.plugged(), time.monotonic()
    while plugged != want:
        if time.monotonic() - since > STUCK_SECONDS:
            raise Failure(f"stuck at {plugged / GIB:.1f} GiB")
        time.sleep(POLL_SECONDS)
        now = device.plugged()
        if now != plugged:
            plugged, since = now, time.monotonic()
    vm.driver.settle()


def last_words(vm: VM) -> str:
    """What the kernel died of; nothing if it did not."""
    died = re.search(r"Kernel panic - not syncing: .*", vm.console())
    return died[0] if died else ""


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * KIB
    raise Failure(f"process {pid} is gone")
