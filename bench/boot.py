# SPDX-License-Identifier: GPL-2.0
"""What a boot costs, with nothing hot-plugged: instructions until the first program starts."""

import re

from vmtest import paths
from vmtest.errors import Failure
from vmtest.qemu import Machine
from vmtest.vm import VM

MEMORY = "8G"
TIMES = 3  # with an address space laid out anew each time

Measured = dict[str, list[int]]  # kernel -> instructions


def boot(kernel: str) -> int:
    # With -icount, the time stamps of the log are nanoseconds and instructions as well.
    with VM(f"boot-{kernel}", Machine(paths.measured(kernel), memory=MEMORY, count_instructions=True)) as vm:
        started = re.search(r"\[ *(\d+)\.(\d{6})\] Run /init", vm.sh("dmesg"))
        if not started:
            raise Failure(f"{vm.name}: the log does not say when init starts")
        return int(started[1] + started[2]) * 1000


def measure() -> Measured:
    print(f"Booting a guest with {MEMORY}:", flush=True)
    measured: Measured = {kernel: [] for kernel in paths.KERNELS}
    for _ in range(TIMES):
        for kernel, counts in measured.items():
            counts.append(boot(kernel))
            print(f"  {kernel:8} {counts[-1] / 1e6:.1f} million instructions", flush=True)
    return measured


def table(measured: Measured) -> str:
    base, patched = (sorted(measured[kernel])[TIMES // 2] for kernel in paths.KERNELS)
    return f"A boot takes {patched / base:.4f} times the instructions of the base's."
