# SPDX-License-Identifier: GPL-2.0
"""ACPI memory devices that are added to a guest, and removed."""

from typing import Any

from vmtest.underqemu import Monitored
from vmtest.units import parse_size
from vmtest.wait import wait_until


class Dimms:
    def __init__(self, guest: Monitored) -> None:
        self._guest = guest

    def plug(self, name: str, size: str) -> None:
        """Tells the guest, and does not wait."""
        arguments = {"qom-type": "memory-backend-ram", "size": parse_size(size), "reserve": False}
        self._guest.qemu("object-add", id=f"mem-{name}", **arguments)
        self._guest.qemu("device_add", driver="pc-dimm", id=name, memdev=f"mem-{name}")

    def add(self, name: str, size: str) -> None:
        """Until the guest has it."""
        self.plug(name, size)
        self._wait_system_ram(self.start(name), parse_size(size), there=True)

    def remove(self, name: str) -> None:
        """Until it is gone."""
        dimm = self._all()[name]
        self.request_removal(name)
        self._wait_system_ram(dimm["addr"], dimm["size"], there=False)
        self.wait_gone(name)

    def request_removal(self, name: str) -> None:
        self._guest.qemu("device_del", id=name)

    def wait_gone(self, name: str) -> None:
        wait_until(
            lambda: name not in self._all(),
            lambda: f"guest {self._guest.name} keeps {name}; QEMU's events: {self._guest.events}",
        )
        self._guest.qemu("object-del", id=f"mem-{name}")

    def start(self, name: str) -> int:
        """Its first address."""
        return int(self._all()[name]["addr"])

    def _all(self) -> dict[str, Any]:
        devices = (device["data"] for device in self._guest.qemu("query-memory-devices"))
        return {data["id"]: data for data in devices if "addr" in data}

    def _wait_system_ram(self, start: int, size: int, there: bool) -> None:
        """Until all of what is in a range of addresses is System RAM, or nothing."""

        def found() -> int:
            ram = (r for r in self._guest.iomem().walk() if r.name.startswith("System RAM"))
            return sum(r.size for r in ram if start <= r.start < start + size)

        wait_until(
            lambda: found() == (size if there else 0),
            lambda: f"guest {self._guest.name} has {found()} of {size} bytes at {start:x}:\n"
            f"{self._guest.iomem().text}\n{self._guest.last_words()}",
        )
        self._guest.pass_hotplug_lock()
