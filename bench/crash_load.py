# SPDX-License-Identifier: GPL-2.0
"""Loading a crash kernel while there are many memory blocks: merged to one entry of /proc/iomem, or not, as every
second one is missing. By kexec -s, for which the kernel makes the header, and by kexec -c, which reads /proc/iomem.
"""

from dataclasses import dataclass
from typing import Optional

from bench.checkerboard import CMDLINE, SECONDS, cost
from vmtest import paths
from vmtest.qemu import Machine
from vmtest.units import parse_size
from vmtest.linux import MEMORY
from vmtest.vm import VM

BLOCKS = (8, 128, 1024)
BLOCK = parse_size("128M")
TIMES = 4


@dataclass
class Loaded:
    blocks: int
    merged: bool
    ram: int  # entries of System RAM in /proc/iomem
    listed: int  # by the header that kexec -s gets
    kernel_makes: float  # instructions of kexec -s
    kexec_makes: Optional[float]  # of kexec -c; nothing if there are too many for it


def load(vm: VM, blocks: int, merged: bool) -> Loaded:
    # It reads no more than 64 KiB of program headers from /proc/kcore.
    loader = vm.crash.loader("kexec -c")
    by_kexec = cost(vm, loader, TIMES) if vm.run(loader).status == 0 else None
    by_kernel = cost(vm, vm.crash.loader(), TIMES)
    ram = sum(entry.name.startswith("System RAM") for entry in vm.iomem().walk())
    return Loaded(blocks, merged, ram, len(vm.crash.header()), by_kernel, by_kexec)


def play(kernel: str) -> list[Loaded]:
    size = str(2 * max(BLOCKS) * BLOCK)
    machine = Machine(paths.measured(kernel), [size], "8G", CMDLINE, count_instructions=True)
    found = []
    with VM(f"crash-load-{kernel}", machine) as vm:
        for blocks in BLOCKS:
            vm.vmem[0].resize(str(blocks * BLOCK), seconds=SECONDS)
            found.append(load(vm, blocks, merged=True))
            vm.vmem[0].resize(str(2 * blocks * BLOCK), seconds=SECONDS)
            first = vm.iomem().one("virtio0").start // vm.block_size
            every_second = " ".join(str(number) for number in range(first, first + 2 * blocks, 2))
            offline = f"for number in {every_second}; do echo offline >memory$number/state; done"
            vm.sh(f"cd {MEMORY}; {offline}", SECONDS)
            vm.vmem[0].resize(str(blocks * BLOCK), seconds=SECONDS)
            found.append(load(vm, blocks, merged=False))
            vm.vmem[0].resize("0", seconds=SECONDS)
            print(f"  {kernel:8} {blocks} blocks", flush=True)
    return found


def measure() -> dict[str, list[Loaded]]:
    print("Crash kernels are loaded:", flush=True)
    return {kernel: play(kernel) for kernel in paths.KERNELS}


def table(measured: dict[str, list[Loaded]]) -> str:
    head = ["million instructions to load a crash kernel", "blocks", "System RAM", "in the header",
            "kexec -s", "kexec -c"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for kernel, guests in measured.items():
        for guest in guests:
            what = "merged" if guest.merged else "every second"
            by_kexec = f"{guest.kexec_makes / 1e6:.0f}" if guest.kexec_makes else "fails"
            lines.append(f"| {kernel}, {what} | {guest.blocks} | {guest.ram} | {guest.listed}"
                         f" | {guest.kernel_makes / 1e6:.0f} | {by_kexec} |")
    return "\n".join(lines)
