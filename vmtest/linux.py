# SPDX-License-Identifier: GPL-2.0
"""What every guest says of its memory: it runs Linux."""

import functools
from dataclasses import dataclass

from vmtest import proc
from vmtest.agent import Result
from vmtest.guest import RUN_SECONDS, Guest
from vmtest.iomem import Iomem
from vmtest.units import PAGE, memmap

MEMORY = "/sys/devices/system/memory"


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
        self.run(f"cd {MEMORY} && echo online >$(ls -d memory[0-9]* | sort -n -k 1.7 | head -n 1)/state")
