"""What can be done with a guest's memory, and what the guest says about it."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from vmtest import console, elf, initramfs, proc
from vmtest.elf import PAGE
from vmtest.errors import Failure
from vmtest.guest import Guest
from vmtest.iomem import Iomem
from vmtest.qemu import REQUESTS, UNHURRIED
from vmtest.units import MIB, format_size, parse_size
from vmtest.wait import SECONDS, wait_until

MEMORY = "/sys/devices/system/memory"
WORKING = "+events_freezable"  # the name of a task that runs work of virtio-mem, and of hardly anybody else
VMCORE_PIECE = 16 * MIB  # the capture kernel has little memory

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


class VM(Guest):
    """A guest whose memory grows and shrinks."""

    def start(self) -> None:
        super().start()
        if self.machine.vmem:
            self.sh(f"insmod {initramfs.VIRTIO_MEM}")

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

    def block_at(self, address: int) -> str:
        """The directory of the memory block that holds a physical address."""
        return f"{MEMORY}/memory{address // self.block_size}"

    def hosted_maps(self) -> int:
        """What memory blocks hold of their own memory maps, in bytes: 64 for each page."""
        hosts = self.sh(f"cat {MEMORY}/memory*/memmap_on_memory 2>/dev/null; true").split()
        return hosts.count("1") * self.block_size // PAGE * 64

    def snapshot(self) -> Snapshot:
        total = self.meminfo()["MemTotal"]
        return Snapshot(self.iomem().text, self.memory_blocks(), self.zoneinfo(), total)

    # virtio-mem

    def resize(self, size: str, device: str = "vmem0", seconds: float = SECONDS) -> None:
        """Asks a virtio-mem device for `size` and waits until host and guest both have it."""
        want = parse_size(size)
        self.request(size, device)
        wait_until(
            lambda: self.plugged(device) == want and self._covers(device, want),
            lambda: f"guest {self.name}: {device} is stuck at {format_size(self.plugged(device))}"
            f" of {size}:\n{self.iomem().text}\n{console.last_words(self.console())}",
            seconds,
        )
        self.settle()

    def request(self, size: str, device: str = "vmem0") -> None:
        """Asks a virtio-mem device for `size` and does not wait."""
        path = f"/machine/peripheral/{device}"
        self.qemu("qom-set", path=path, property="requested-size", value=parse_size(size))

    def added(self) -> int:
        """How much memory the driver has added, in bytes."""
        return sum(ram.size for ram in self.iomem().system_ram("virtio_mem"))

    def plugged(self, device: str = "vmem0") -> int:
        """What the device says is plugged, in bytes."""
        return self._device_property(device, "size")

    def _device_property(self, device: str, name: str) -> int:
        path = f"/machine/peripheral/{device}"
        return int(self.qemu("qom-get", path=path, property=name))

    def _covers(self, device: str, plugged: int) -> bool:
        """Whether the guest has as many memory blocks as `plugged` bytes of the device need."""
        start = self._device_property(device, "memaddr")
        number = int(device.removeprefix("vmem"))
        end = start + parse_size(self.machine.vmem[number])
        added = self.iomem().system_ram("virtio_mem")
        block = self.block_size
        covered = sum(entry.size for entry in added if start <= entry.start < end)
        return covered == -(-plugged // block) * block

    def requests(self) -> list[str]:
        """What the driver has asked its device so far, and the answers, as QEMU traces them."""
        return (self.directory / REQUESTS).read_text().splitlines()

    def memmap_size(self) -> int:
        """How many bytes of each of its memory blocks hold the memory map, as the driver says."""
        said = re.search(r"memory maps hosted by memory blocks: 0x(\w+)", self.sh("dmesg"))
        return int(said[1], 16) if said else 0

    def settle(self) -> None:
        """Until the virtio-mem driver is through with what it has begun, and so is everybody else.

        It plugs what is smaller than a memory block without taking a lock that others can wait for.
        """
        self.sh(f"while grep -qs '{WORKING}$' /proc/[0-9]*/comm; do sleep 0.01; done")
        self.pass_hotplug_lock()

    def pass_hotplug_lock(self) -> None:
        """Until nobody is in the middle of adding or removing a memory block.

        Adding, merging, onlining and removing are one critical section of device_hotplug_lock.
        Onlining memory that is online takes that lock and changes nothing (it says EINVAL).
        """
        self.run(f"echo online >{MEMORY}/memory0/state")

    # ACPI memory devices

    def add_dimm(self, name: str, size: str) -> None:
        arguments = {"qom-type": "memory-backend-ram", "size": parse_size(size), "reserve": False}
        self.qemu("object-add", id=f"mem-{name}", **arguments)
        self.qemu("device_add", driver="pc-dimm", id=name, memdev=f"mem-{name}")
        self._wait_system_ram(self.dimms()[name], parse_size(size), there=True)

    def remove_dimm(self, name: str, size: str) -> None:
        start = self.dimms()[name]
        self.qemu("device_del", id=name)
        self._wait_system_ram(start, parse_size(size), there=False)
        self.wait_dimm_gone(name)

    def wait_dimm_gone(self, name: str) -> None:
        wait_until(
            lambda: name not in self.dimms(),
            lambda: f"guest {self.name} keeps {name}; QEMU's events: {self.events}",
        )
        self.qemu("object-del", id=f"mem-{name}")

    def dimms(self) -> dict[str, int]:
        """Where each of them begins."""
        devices = (device["data"] for device in self.qemu("query-memory-devices"))
        return {data["id"]: data["addr"] for data in devices if "addr" in data}

    def _wait_system_ram(self, start: int, size: int, there: bool) -> None:
        """Until all of what is in a range of addresses is System RAM, or nothing."""

        def found() -> int:
            ram = (r for r in self.iomem().walk() if r.name.startswith("System RAM"))
            return sum(r.size for r in ram if start <= r.start < start + size)

        wait_until(
            lambda: found() == (size if there else 0),
            lambda: f"guest {self.name} has {found()} of {size} bytes at {start:x}:\n"
            f"{self.iomem().text}\n{console.last_words(self.console())}",
        )
        self.settle()

    # Crash dumps

    def load_crash_kernel(self) -> None:
        """Needs crashkernel= on the command line."""
        self.sh(self.crash_kernel_loader())

    def crash_kernel_loader(self, how: str = "kexec -s") -> str:
        """`how`: -s lets the kernel make the header, -c makes kexec do so from /proc/iomem."""
        return (
            f"{how} -p {initramfs.CRASH_KERNEL} --initrd={initramfs.CAPTURE_IMAGE}"
            f" --append='console=ttyS0 {UNHURRIED} panic=-1 nr_cpus=1 irqpoll reset_devices'"
        )

    def crash_header(self) -> list[elf.Load]:
        """What a dump would hold if the guest crashed now: the header made for the crash kernel."""
        region = self.iomem().one("Crash kernel")
        header = elf.find_core_header(self.physical(region.start, region.size))
        if header is None:
            raise Failure(f"guest {self.name} has no crash header in {region}")
        return elf.loads(header)

    def physical(self, address: int, size: int) -> bytes:
        """The guest's physical memory, read behind its back."""
        file = self.directory / "memory.bin"
        self.qemu("pmemsave", val=address, size=size, filename=file.name)
        try:
            return file.read_bytes()
        finally:
            file.unlink()

    def crash(self) -> None:
        """Crashes the guest; from then on it is the capture kernel that answers."""
        self.sh("echo 1 >/proc/sys/kernel/unknown_nmi_panic")
        self.qemu("inject-nmi")
        self.wait_booted()

    def restart(self, script: str) -> None:
        """Runs a script in the guest that ends with another kernel running; waits for that."""
        with self._explained("does not boot"):
            self._agent.restart(script, self.boot_seconds)

    def vmcore_loads(self) -> list[elf.Load]:
        """In the capture kernel: what the dump holds."""
        return elf.loads(self._vmcore_header())

    def vmcore(self, address: int, size: int) -> bytes:
        """In the capture kernel: the crashed kernel's physical memory, out of the dump."""
        return self.vmcore_pieces([address], size)

    def vmcore_pieces(self, addresses: list[int], size: int = PAGE) -> bytes:
        """The same for pieces of one size, one behind the other."""
        loads = elf.loads(self._vmcore_header())
        places = " ".join(str(elf.offset(loads, address, size) // PAGE) for address in addresses)
        return self.run(
            f"for skip in {places}; do dd if=/proc/vmcore bs={PAGE} skip=$skip"
            f" count={size // PAGE} 2>/dev/null; done"
        ).output

    def save_vmcore(self) -> Path:
        """In the capture kernel: the whole dump, as a file of the host."""
        file = self.directory / "vmcore"
        pieces = -(-int(self.sh("stat -c %s /proc/vmcore")) // VMCORE_PIECE)
        with open(file, "wb") as copy:
            for number in range(pieces):
                dd = f"dd if=/proc/vmcore bs={VMCORE_PIECE} skip={number} count=1 2>/dev/null"
                copy.write(self.run(dd).output)
        return file

    def _vmcore_header(self) -> bytes:
        # The kernel puts header, program headers and notes into whole pages before the memory.
        return self.run("head -c $((0x100000)) /proc/vmcore").output
