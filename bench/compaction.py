"""What compaction costs where pageblocks are checked: on the base with zone->contiguous as hotplug leaves it (false),
on the base with the flag set by a module, and patched, where the flag is gone and pageblocks are looked at under RCU.

Guests run with `-icount shift=0`: CPU time in the guest is instructions. "all" is what compact_memory takes for memory
with nothing in it, which is checking pageblocks and nothing else. "huge" is work: huge pages out of memory of which
every second page is in use, by direct compaction.
"""

from dataclasses import dataclass

from bench.blocks import CMDLINE, SECONDS
from vmtest import module, paths
from vmtest.qemu import Machine
from vmtest.units import MIB
from vmtest.vm import VM

FLAG = "bench/contiguous"
EMPTY, USED = "64G", "4G"
LEFT = range(192, 352, 32)  # MiB that are not touched: for page tables, and for compaction to begin with; one run each
HUGE = 512
FILES = "mkdir /files && mount -t tmpfs -o size=100% tmpfs /files"
ROUNDS = 3


@dataclass
class Compaction:
    """Instructions."""

    all: int  # for EMPTY, the least of some rounds
    huge: int  # for all huge pages of all runs, that the task at it needs
    got: int  # huge pages, of HUGE in each run


def measure_one(kernel: str, flag: bool) -> Compaction:
    name = paths.measured(kernel)
    cmdline = f"{CMDLINE} memhp_default_state=online_movable"
    machine = Machine(name, [EMPTY], "2G", cmdline, count_instructions=True)
    with VM(f"compaction-{kernel}", machine) as vm:
        vm.resize(EMPTY, seconds=SECONDS)
        if flag:
            vm.sh(f"insmod {module.bring(vm, FLAG)}")
        every = min(int(vm.sh("fragment all", SECONDS)) for _ in range(ROUNDS))
    result = Compaction(every, 0, 0)
    for left in LEFT:
        cost, got = huge_pages(kernel, flag, left)
        result.huge += cost
        result.got += got
    return result


def huge_pages(kernel: str, flag: bool, left: int) -> tuple[int, int]:
    """What they cost, and how many came."""
    cmdline = f"{CMDLINE} memhp_default_state=online_movable"
    machine = Machine(paths.measured(kernel), [USED], "512M", cmdline, count_instructions=True)
    with VM(f"compaction-{kernel}", machine) as vm:
        vm.resize(USED, seconds=SECONDS)
        if kernel == "base":
            # Loaded in both cases, so that nothing else is different.
            vm.sh(f"insmod {module.bring(vm, FLAG)}{'' if flag else ' && rmmod contiguous'}")
        touched = vm.meminfo()["MemFree"] // MIB - left
        vm.sh(f"cd /sys/kernel/mm/transparent_hugepage && echo always >enabled && echo always >defrag; {FILES}")
        cost, got = map(int, vm.sh(f"cd /files; fragment {touched} {HUGE}", SECONDS).split())
    print(f"  {kernel:8} {'flag' if flag else '    '} {left} MiB left: {cost / 1e6:.1f} M, {got} of {HUGE}", flush=True)
    return cost, got


def measure() -> dict[str, Compaction]:
    print(f"Compaction, {EMPTY} with nothing in it, and {HUGE} huge pages out of fragmented memory:", flush=True)
    return {
        "base": measure_one("base", False),
        "base, flag set": measure_one("base", True),
        "patched": measure_one("patched", False),
    }


def table(measured: dict[str, Compaction]) -> str:
    head = f"| M instructions | {EMPTY} with nothing in it | a huge page | against the base | huge pages |"
    each = {name: cost.huge / cost.got for name, cost in measured.items()}
    rows = [
        f"| {name} | {cost.all / 1e6:.2f} | {each[name] / 1e6:.3f} | {each[name] / each['base']:.3f}"
        f" | {cost.got} of {HUGE * len(LEFT)} |"
        for name, cost in measured.items()
    ]
    return "\n".join([head, "|---" * 5 + "|", *rows])


if __name__ == "__main__":
    print(table(measure()))
