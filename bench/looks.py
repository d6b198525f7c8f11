# SPDX-License-Identifier: GPL-2.0
"""What it costs to let memory removal wait for those who look at memory maps, by ways to do so.

A look is counted in instructions, with `-icount`. A wait is measured by the clock, as it depends on what other CPUs do:
idle, and with two loops of compaction. The kernel is the base: the ways are there, only nobody uses them.
"""

import re
from dataclasses import dataclass, field

from vmtest import module, paths
from vmtest.cmdline import MOVABLE
from vmtest.qemu import Machine
from vmtest.vm import VM

MODULE, MEASURE = "bench/look_cost", "/sys/module/look_cost/parameters/measure"
COMPACT = "while [ ! -e enough ]; do echo 1 >/proc/sys/vm/compact_memory; done"
CPUS = (2, 4)


@dataclass
class Looks:
    look: dict[str, float] = field(default_factory=dict)  # way -> instructions
    wait: dict[str, dict[str, float]] = field(default_factory=dict)  # CPUs and load -> way -> microseconds


def measured(vm: VM, what: str) -> dict[str, float]:
    vm.sh(f"[ -e {MEASURE} ] || insmod {module.bring(vm, MODULE)}; dmesg -c >/dev/null; echo {what} >{MEASURE}")
    found = re.findall(rf"look_cost: {what} (.+) (\d+)$", vm.sh("dmesg"), re.MULTILINE)
    return {name: int(picoseconds) / 1000 for name, picoseconds in found}


def measure() -> Looks:
    kernel, result = paths.measured("base"), Looks()
    cmdline = MOVABLE
    with VM("looks", Machine(kernel, count_instructions=True)) as vm:
        found = measured(vm, "look")
        result.look = {name: cost - found["nothing"] for name, cost in found.items() if name != "nothing"}
    for cpus in CPUS:
        with VM("looks", Machine(kernel, ["4G"], "1G", cmdline, smp=cpus)) as vm:
            vm.vmem[0].resize("4G")
            result.wait[f"{cpus} CPUs, idle"] = measured(vm, "wait")
            vm.sh(f"for i in 1 2; do {{ {COMPACT}; }} >/dev/null 2>&1 & done")
            result.wait[f"{cpus} CPUs, two loops of compaction"] = measured(vm, "wait")
    return result


def table(result: Looks) -> str:
    loads = list(result.wait)
    names = dict.fromkeys([*result.look, *(name for by_name in result.wait.values() for name in by_name)])
    rows = [f"| way | a look, instructions | {' | '.join(f'a wait, us: {load}' for load in loads)} |"]
    rows.append("|---" * (2 + len(loads)) + "|")
    for name in names:
        look = f"{result.look[name]:.0f}" if name in result.look else ""
        waits = (result.wait[load].get(name) for load in loads)
        cells = ["" if wait is None else f"{wait / 1000:.0f}" for wait in waits]
        rows.append(f"| {name} | {look} | {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(measure()))
