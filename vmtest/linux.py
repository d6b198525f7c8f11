# SPDX-License-Identifier: GPL-2.0
"""What every guest says of its memory: it runs Linux."""

import functools
from dataclasses import dataclass
from typing import Callable

from vmtest import proc
from vmtest.agent import Result
from vmtest.guest import RUN_SECONDS, Guest
from vmtest.iomem import Iomem
from vmtest.units import PAGE, memmap
from vmtest.wait import wait_until

MEMORY = "/sys/devices/system/memory"

# Reads /proc/iomem line by line. Behind the first memory of virtio-mem, waits to be told to go on.
READER = """
rm -f finished go
: >seen
mkfifo go
{
    wait=virtio_mem
    while read -r line; do
        echo "$line" >>seen
        case $line in *$wait*) wait=none; read -r _ <go ;; esac
    done </proc/iomem
    touch finished
} >/dev/null 2>&1 &
"""


@dataclass(frozen=True)
class Snapshot:
    """All that plugging and unplugging again must leave as it was."""

    iomem: str
    blocks: dict[int, str]
    zones: dict[str, proc.Zone]
    total: int


class Linux(Guest):
    """A guest that is asked what memory it has."""

    def iomem(self) -> Iomem:
        return Iomem(self.sh("cat /proc/iomem"))

    def read_iomem_while(self, change: Callable[[], None]) -> list[str]:
        """The lines that a reader of /proc/iomem gets if `change` is made before it is through."""
        self.sh(READER)
        wait_until(lambda: "virtio_mem" in self.sh("cat seen"), lambda: "no reader starts")
        change()
        self.sh("echo >go")
        wait_until(lambda: self.run("[ -e finished ]").status == 0, lambda: "the reader hangs")
        return self.sh("cat seen").splitlines()

    def meminfo(self) -> dict[str, int]:
        return proc.meminfo(self.sh("cat /proc/meminfo"))

    def zoneinfo(self) -> dict[str, proc.Zone]:
        return proc.zoneinfo(self.sh("cat /proc/zoneinfo"))

    def boot_memory_free(self) -> int:
        """What is free of the memory that the kernel can use for itself, in bytes."""

        def free() -> int:
            zones = proc.free_in_zones(self.sh("sleep 0.1; cat /proc/zoneinfo"))
            return PAGE * sum(pages for zone, pages in zones.items() if not zone.endswith("/Movable"))

        # Tasks that have ended keep some for a moment.
        return max(free() for _ in range(5))

    @functools.cached_property
    def block_size(self) -> int:
        return int(self.sh(f"cat {MEMORY}/block_size_bytes"), 16)

    def memory_blocks(self) -> dict[int, str]:
        """The state of every memory block by its number. One may go while they are read."""
        lines = self.sh(f"cd {MEMORY} && grep -sH . memory*/state || :").splitlines()
        states = (line.removeprefix("memory").split("/state:") for line in lines)
        return {int(number): state for number, state in states}

    def block_at(self, address: int) -> int:
        """The number of the memory block that holds a physical address."""
        return address // self.block_size

    def state_file(self, block: int) -> str:
        return f"{MEMORY}/memory{block}/state"

    def set_state(self, state: str, *blocks: int) -> None:
        """Takes memory blocks online or offline, in order."""
        for block in blocks:
            self.sh(f"echo {state} >{self.state_file(block)}")

    def try_state(self, state: str, block: int, seconds: float = RUN_SECONDS) -> Result:
        return self.run(f"echo {state} >{self.state_file(block)}", seconds)

    def hosted_maps(self) -> int:
        """What memory blocks hold of their own memory maps, in bytes."""
        hosts = self.sh(f"cat {MEMORY}/memory*/memmap_on_memory 2>/dev/null; true").split()
        return memmap(hosts.count("1") * self.block_size)

    def snapshot(self) -> Snapshot:
        total = self.meminfo()["MemTotal"]
        return Snapshot(self.iomem().text, self.memory_blocks(), self.zoneinfo(), total)

    def direct_map(self) -> int:
        """How much memory the kernel maps for itself, in bytes, on x86."""
        return sum(size for name, size in self.meminfo().items() if name.startswith("DirectMap"))

    def pass_hotplug_lock(self) -> None:
        """Until nobody is in the middle of adding or removing a memory block.

        Adding, merging, onlining and removing are one critical section of device_hotplug_lock.
        Onlining memory that is online takes that lock and changes nothing (it says EINVAL).
        """
        self.run(f"echo online >{MEMORY}/memory0/state")
