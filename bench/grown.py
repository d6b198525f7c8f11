# SPDX-License-Identifier: GPL-2.0
"""What is decided by the memory at boot: a guest that grew against one that was born with as much.

Nothing is timed, so the kernels of the scenarios do. `python3 -m bench.grown` measures that alone.
"""

import re
import sys
from dataclasses import dataclass, field

from vmtest import limits, paths
from vmtest.cmdline import KERNEL, MOVABLE
from vmtest.errors import Failure
from vmtest.qemu import Machine
from vmtest.units import MIB
from vmtest.vm import VM

SMALL, MORE, LARGE = "256M", "7936M", "8G"
DEVICE = "8G"

# Who could change it, in a guest that runs.
WHO = {
    "THP": "the kernel does, in 70-grown",
    **dict.fromkeys(limits.FOLLOWING, "the kernel does, in 70-grown"),
    "min_free_kbytes": "the kernel does; for huge pages, too, when THP is on",
    "file-max": "systemd does, at boot; else sysctl",
    "RLIMIT_NPROC": "who starts services: inherited from init",
    "RLIMIT_SIGPENDING": "who starts services: inherited from init",
    "tmpfs, mounted before, KiB": "mount -o remount,size=50%",
    "Dentry cache hash": "nobody until the next boot: dhash_entries=",
    "Inode-cache hash": "nobody until the next boot: ihash_entries=",
    "bounce buffers at boot, MiB": "the kernel does, in 70-grown",
    "MemTotal at boot, MiB": "",
}


@dataclass
class Grown:
    born: dict[str, str] = field(default_factory=dict)
    grown: dict[str, str] = field(default_factory=dict)  # with memory that the kernel can use
    movable: dict[str, str] = field(default_factory=dict)  # with memory in ZONE_MOVABLE


def decided(vm: VM) -> dict[str, str]:
    found = limits.following(vm) | limits.others(vm)
    shown = {name: str(value) for name, value in found.items()}
    return {"THP": limits.thp(vm)["enabled"], **shown, "tmpfs, mounted before, KiB": str(limits.tmpfs_size(vm, "/run"))}


def at_boot(vm: VM) -> dict[str, str]:
    bounce = re.search(r"software IO TLB: mapped .*\((\d+)MB\)", vm.sh("dmesg"))
    return {
        "bounce buffers at boot, MiB": bounce[1] if bounce else "0",
        "MemTotal at boot, MiB": f"{vm.meminfo()['MemTotal'] / MIB:.0f}",
    }


def measure() -> dict[str, Grown]:
    print(f"Guests of {SMALL} that grow to {LARGE}, and of {LARGE}:", flush=True)
    measured = {kernel: Grown() for kernel in paths.KERNELS}
    for kernel, found in measured.items():
        with VM(f"born-{kernel}", Machine(kernel, memory=LARGE)) as vm:
            found.born = decided(vm) | at_boot(vm)
        for policy, into in ((KERNEL, found.grown), (MOVABLE, found.movable)):
            with VM(f"grown-{kernel}", Machine(kernel, [DEVICE], SMALL, policy)) as vm:
                begun = at_boot(vm)
                vm.vmem[0].resize(MORE)
                vm.sh("sleep 2")  # it is noted a tenth of a second later
                into |= decided(vm) | begun
        print(f"  {kernel}", flush=True)
    return measured


def smallest(kernel: str) -> int:
    """The least memory, in MiB, that a guest boots with that may grow."""
    works, fails = 256, 16
    while works - fails > 4:
        memory = (works + fails) // 2
        try:
            with VM(f"smallest-{kernel}", Machine(kernel, ["1G"], f"{memory}M", MOVABLE)) as vm:
                vm.vmem[0].resize("128M", seconds=60)
                works = memory
        except Failure:
            fails = memory
    print(f"  {kernel}: {works} MiB", flush=True)
    return works


def table(measured: dict[str, Grown]) -> str:
    base, patched = measured["base"], measured["patched"]
    columns = ["what", "born", "base, grown", "patched, grown", "patched, grown movable", "who can change it"]
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in base.born:
        values = (base.born[name], base.grown[name], patched.grown[name], patched.movable[name])
        rows.append(f"| {name} | {' | '.join(values)} | {WHO[name]} |")
    return "\n".join(rows)


if __name__ == "__main__":
    try:
        print(table(measure()))
        print("The smallest guest that boots and grows:")
        for name in paths.KERNELS:
            smallest(name)
    except Failure as failure:
        sys.exit(f"error: {failure}")
