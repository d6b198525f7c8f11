"""What compaction costs where pageblocks are checked: on the base with zone->contiguous as hotplug leaves it (false),
on the base with the flag set by a module, and patched, where the flag is gone and pageblocks are looked at under RCU.

Guests run with `-icount shift=0`: CPU time in the guest is instructions. compact_memory has all memory compacted, once
where there is nothing in it, which is checking pageblocks and nothing else; once where every second page is in use.
"""

import re
from dataclasses import dataclass

from bench.blocks import CMDLINE, SECONDS
from vmtest import module, paths
from vmtest.qemu import Machine
from vmtest.units import MIB
from vmtest.vm import VM

FLAG = "bench/contiguous"
EMPTY, USED = "64G", "4G"
LEFT = 256  # MiB that are not touched
ROUNDS = 3
FILES = "mkdir /files && mount -t tmpfs -o size=100% tmpfs /files && cd /files"


@dataclass
class Compaction:
    """Instructions."""

    empty: int  # for EMPTY with nothing in it, the least of some rounds
    used: int  # for USED with every second page in use
    huge: int  # huge pages that can be had then, and could not before


def boot(kernel: str, flag: bool, size: str, memory: str) -> VM:
    cmdline = f"{CMDLINE} memhp_default_state=online_movable"
    machine = Machine(paths.measured(kernel), [size], memory, cmdline, count_instructions=True)
    vm = VM(f"compaction-{kernel}", machine)
    vm.resize(size, seconds=SECONDS)
    if kernel == "base":
        # Loaded in both cases, so that nothing else is different.
        vm.sh(f"insmod {module.bring(vm, FLAG)}{'' if flag else ' && rmmod contiguous'}")
    return vm


def free_huge_pages(vm: VM) -> int:
    """By /proc/buddyinfo, whose last columns are free blocks of 2 and of 4 MiB."""
    counts = re.findall(r"(\d+) +(\d+) *$", vm.sh("cat /proc/buddyinfo"), re.MULTILINE)
    return sum(int(two) + 2 * int(four) for two, four in counts)


def measure_one(kernel: str, flag: bool) -> Compaction:
    with boot(kernel, flag, EMPTY, "2G") as vm:
        empty = min(int(vm.sh("fragment all", SECONDS)) for _ in range(ROUNDS))
    with boot(kernel, flag, USED, "512M") as vm:
        vm.sh(f"{FILES}; fragment {vm.meminfo()['MemFree'] // MIB - LEFT}", SECONDS)
        before = free_huge_pages(vm)
        used = int(vm.sh("fragment all", SECONDS))
        huge = free_huge_pages(vm) - before
    print(f"  {kernel:8} {'flag' if flag else '    '} {empty / 1e6:.2f} M, {used / 1e6:.1f} M for {huge}", flush=True)
    return Compaction(empty, used, huge)


def measure() -> dict[str, Compaction]:
    print(f"Compaction of {EMPTY} with nothing in it, and of {USED} with every second page in use:", flush=True)
    return {
        "base": measure_one("base", False),
        "base, flag set": measure_one("base", True),
        "patched": measure_one("patched", False),
    }


def table(measured: dict[str, Compaction]) -> str:
    head = f"| M instructions | {EMPTY}, empty | {USED}, half in use | huge pages had | for each | against the base |"
    each = {name: cost.used / cost.huge for name, cost in measured.items()}
    rows = [
        f"| {name} | {cost.empty / 1e6:.2f} | {cost.used / 1e6:.1f} | {cost.huge} | {each[name] / 1e6:.3f}"
        f" | {each[name] / each['base']:.3f} |"
        for name, cost in measured.items()
    ]
    return "\n".join([head, "|---" * 6 + "|", *rows])


if __name__ == "__main__":
    print(table(measure()))
