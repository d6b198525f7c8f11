# SPDX-License-Identifier: GPL-2.0
"""virtio-mem: the devices of a guest, and the driver in it."""

import re
from abc import ABC, abstractmethod

from vmtest import initramfs
from vmtest.errors import Failure
from vmtest.linux import Linux
from vmtest.underqemu import Monitored
from vmtest.units import format_size, parse_size
from vmtest.wait import SECONDS, wait_until

# What a task is named for that runs work of virtio-mem, behind a +, and of hardly anybody else.
WORK = "events_freezable"

# Where its devices are, by their type.
DEVICES = "cd /sys/bus/virtio/devices; for name in *; do ! grep -qx 0x0018 $name/device || readlink -f $name; done"

# How it is loaded: in sub-block mode, or in big-block mode with one or two memory blocks.
SBM = ""
BBM = "force_bbm=1"
BBM_LARGE = "force_bbm=1 bbm_block_size=268435456"


class Driver:
    """virtio-mem's driver, a module."""

    def __init__(self, guest: Linux) -> None:
        self._guest = guest

    def load(self, parameters: str = "") -> None:
        if initramfs.driver_is_module(self._guest.machine.kernel):
            self._guest.sh(f"insmod {initramfs.VIRTIO_MEM} {parameters}")
        elif parameters:
            raise Failure(f"virtio-mem is built into the {self._guest.machine.kernel} kernel: it takes no {parameters}")

    def unload(self) -> None:
        self._guest.sh("rmmod virtio_mem")

    def reload(self, parameters: str) -> None:
        self.unload()
        self.load(parameters)

    def added(self) -> int:
        """How much memory it has added, in bytes."""
        return sum(ram.size for ram in self._guest.iomem().system_ram("virtio_mem"))

    def memmap_size(self) -> int:
        """How many bytes of each of its memory blocks hold the memory map, as it says."""
        said = re.search(r"memory maps hosted by memory blocks: 0x(\w+)", self._guest.sh("dmesg"))
        return int(said[1], 16) if said else 0

    def settle(self) -> None:
        """Until it is through with what it has begun, and so is everybody else.

        It plugs what is smaller than a memory block without taking a lock that others can wait for.
        """
        self._guest.sh(f"while grep -qs '+{WORK}$' /proc/[0-9]*/comm; do sleep 0.01; done")
        self._guest.pass_hotplug_lock()


class Vmem(ABC):
    """A virtio-mem device."""

    def __init__(self, guest: Linux, driver: Driver, name: str) -> None:
        self._guest = guest
        self._driver = driver
        self.name = name

    @abstractmethod
    def request(self, size: str) -> None:
        """Asks the guest for `size` and does not wait."""

    @abstractmethod
    def plugged(self) -> int:
        """What the device says is plugged, in bytes."""

    @abstractmethod
    def covered(self) -> int:
        """How much the guest's memory blocks have of the device, in bytes."""

    def resize(self, size: str, seconds: float = SECONDS) -> None:
        """Asks for `size` and waits until host and guest both have it."""
        want = parse_size(size)
        block = self._guest.block_size
        self.request(size)
        wait_until(
            lambda: self.plugged() == want and self.covered() == -(-want // block) * block,
            lambda: f"guest {self._guest.name}: {self.name} is stuck at {format_size(self.plugged())}"
            f" of {size}:\n{self._guest.iomem().text}\n{self._guest.last_words()}",
            seconds,
        )
        self._driver.settle()


class QemuVmem(Vmem):
    """One that is asked and told by QMP."""

    def __init__(self, guest: Monitored, driver: Driver, number: int, size: str) -> None:
        name = f"vmem{number}"
        super().__init__(guest, driver, name)
        self._number = number
        self._qemu = guest.qemu
        self._path = f"/machine/peripheral/{name}"
        self._size = parse_size(size)

    @property
    def owner(self) -> str:
        """What it is called in the guest's /proc/iomem: virtio0, unless the guest finds another device first."""
        paths = self._guest.sh(DEVICES).splitlines()
        return sorted(paths)[self._number].rpartition("/")[2]

    def request(self, size: str) -> None:
        self._qemu("qom-set", path=self._path, property="requested-size", value=parse_size(size))

    def plugged(self) -> int:
        return self._get("size")

    def covered(self) -> int:
        start = self._get("memaddr")
        added = self._guest.iomem().system_ram("virtio_mem")
        return sum(ram.size for ram in added if start <= ram.start < start + self._size)

    def _get(self, name: str) -> int:
        return int(self._qemu("qom-get", path=self._path, property=name))


def devices(guest: Monitored, driver: Driver) -> list[QemuVmem]:
    """Those of its machine: vmem0, vmem1."""
    return [QemuVmem(guest, driver, number, size) for number, size in enumerate(guest.machine.vmem)]
