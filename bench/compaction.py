"""What compaction costs where pageblocks are checked: on the base with zone->contiguous as hotplug leaves it (false),
on the base with the flag set by a module, and patched, where the flag is gone and pageblocks are looked at under RCU.

Guests run with `-icount shift=0`: CPU time in the guest is instructions. "empty" is what compact_memory takes for
memory with nothing in it, which is checking pageblocks and nothing else. "huge" is work: huge pages out of boot memory
of which every second page is in use, by direct compaction. What course that takes depends on what is free at its
begin, more than on all else: so it is done with more and less of that.
"""

from dataclasses import dataclass

from bench.blocks import CMDLINE, SECONDS
from vmtest import module, paths
from vmtest.qemu import Machine
from vmtest.units import MIB
from vmtest.vm import VM

FLAG = "bench/contiguous"
EMPTY, MEMORY = "64G", "3G"
LEFT = (200, 256, 300, 350)  # MiB that are free at the begin
HUGE = 300
ROUNDS = 3
FILES = "mkdir /files && mount -t tmpfs -o size=100% tmpfs /files"


@dataclass
class Compaction:
    """Instructions."""

    empty: int  # for EMPTY with nothing in it, the least of some rounds
    huge: int  # for huge pages, all of LEFT together
    got: int  # how many there were, of HUGE each


def guest(kernel: str, vmem: list[str], memory: str) -> VM:
    cmdline = f"{CMDLINE} memhp_default_state=online_movable"
    machine = Machine(paths.measured(kernel), vmem, memory, cmdline, count_instructions=True)
    return VM(f"compaction-{kernel}", machine)


def measure_empty(kernel: str, flag: bool) -> int:
    with guest(kernel, [EMPTY], "2G") as vm:
        vm.resize(EMPTY, seconds=SECONDS)
        if flag:
            vm.sh(f"insmod {module.bring(vm, FLAG)}")
        return min(int(vm.sh("fragment all", SECONDS)) for _ in range(ROUNDS))


def measure_huge(kernel: str, left: int) -> tuple[int, int]:
    """What they cost, and how many came."""
    with guest(kernel, [], MEMORY) as vm:
        fill = vm.meminfo()["MemFree"] // MIB - left
        vm.sh(f"cd /sys/kernel/mm/transparent_hugepage && echo always >enabled && echo always >defrag; {FILES}")
        cost, got = map(int, vm.sh(f"cd /files; fragment {fill} {HUGE}", SECONDS).split())
    print(f"  {kernel:8} {left} MiB free: {cost / 1e6:.1f} M instructions for {got} of {HUGE}", flush=True)
    return cost, got


def measure_one(kernel: str) -> Compaction:
    result = Compaction(measure_empty(kernel, False), 0, 0)
    for left in LEFT:
        cost, got = measure_huge(kernel, left)
        result.huge += cost
        result.got += got
    return result


def measure() -> tuple[dict[str, Compaction], int]:
    """By kernel, and `empty` of the base with the flag."""
    print("What compaction costs:", flush=True)
    return {kernel: measure_one(kernel) for kernel in paths.KERNELS}, measure_empty("base", True)


def table(measured: tuple[dict[str, Compaction], int]) -> str:
    kernels, flag = measured
    base = kernels["base"]
    rows = [f"| M instructions | {EMPTY}, empty | a huge page | against the base | huge pages |", "|---" * 5 + "|"]
    for name, cost in kernels.items():
        each = cost.huge / cost.got
        ratio = each / (base.huge / base.got)
        rows.append(
            f"| {name} | {cost.empty / 1e6:.2f} | {each / 1e6:.3f} | {ratio:.3f} | {cost.got} of {HUGE * len(LEFT)} |"
        )
    return "\n".join([*rows, f"| base, flag set | {flag / 1e6:.2f} | | | |"])


if __name__ == "__main__":
    print(table(measure()))
