# SPDX-License-Identifier: GPL-2.0
"""Pages of a guest whose contents tell their own physical address: guest/canary.c writes them."""

import struct

from vmtest.linux import Linux
from vmtest.units import PAGE
from vmtest.wait import wait_until

FACTOR = 0x9E3779B97F4A7C15
WORDS = PAGE // 8


def fill(vm: Linux, mib: int) -> list[int]:
    """Starts the program; the addresses of its pages, in order."""
    vm.sh(f": >canaries; (canary {mib}; echo failed) >>canaries 2>&1 </dev/null &")
    wait_until(
        lambda: written(vm) >= mib * 256,
        lambda: f"canary has written {written(vm)} pages of {mib * 256}",
    )
    return sorted(int(line, 16) for line in vm.sh("cat canaries").splitlines())


def written(vm: Linux) -> int:
    return int(vm.sh("wc -l <canaries"))


def alive(page: bytes, address: int) -> bool:
    """Whether a page is what the program wrote there."""
    words = ((address + 8 * word) * FACTOR % 2**64 for word in range(WORDS))
    return page == struct.pack(f"<{WORDS}Q", *words)
