# SPDX-License-Identifier: GPL-2.0
"""What a dom0 under Xen pays of the memory it booted with for what its balloon driver adds."""

from vmtest import paths
from vmtest.cmdline import HOSTED_MOVABLE
from vmtest.units import GIB, KIB
from vmtest.xen import Dom0, Host

CMDLINE = HOSTED_MOVABLE
# In GiB. A PVH domain is slower, and has page tables of the hypervisor's besides.
SIZES = {"PV": [1, 2, 4, 8], "PVH": [1, 2, 4]}

Measured = dict[str, dict[str, dict[int, float]]]  # mode -> kernel -> GiB -> KiB for each GiB


def grow(mode: str, kernel: str) -> dict[int, float]:
    most = SIZES[mode][-1]
    host = Host(
        paths.measured(kernel), memory=f"{most + 2}G", dom0="400M,max:400M", cmdline=CMDLINE, pvh=mode == "PVH"
    )
    with Dom0(f"bench-{mode}-{kernel}", host) as vm:
        vm.allow(f"{most + 1}G")
        start, free = vm.held(), vm.boot_memory_free()
        taken = {}
        for gib in SIZES[mode]:
            vm.reach(gib * GIB)
            more = (gib * GIB - start) / GIB
            taken[gib] = round((free - vm.boot_memory_free()) / KIB / more, 1)
        print(f"  {mode:3} {kernel:8} {most} GiB", flush=True)
    return taken


def measure() -> Measured:
    print("A dom0 of 400 MiB grows:", flush=True)
    return {mode: {kernel: grow(mode, kernel) for kernel in paths.KERNELS} for mode in SIZES}


def table(measured: Measured) -> str:
    sizes = SIZES["PV"]
    lines = ["| KiB of boot memory for each GiB more, at | " + " | ".join(f"{gib} GiB" for gib in sizes) + " |"]
    lines.append("|---" * (1 + len(sizes)) + "|")
    for mode, kernels in measured.items():
        for kernel, taken in kernels.items():
            cells = (f"{taken[gib]:.0f}" if gib in taken else "" for gib in sizes)
            lines.append(f"| {mode}, {kernel} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
