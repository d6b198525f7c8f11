# SPDX-License-Identifier: GPL-2.0
"""The guest of most scenarios: a small PC, with memory devices and a crash kernel."""

from vmtest import vmem
from vmtest.crash import Crash, Vmcore
from vmtest.dimms import Dimms
from vmtest.qemu import DISK, REQUESTS, Machine
from vmtest.underqemu import UnderQemu
from vmtest.units import parse_size


class VM(UnderQemu):
    def __init__(self, name: str, machine: Machine) -> None:
        super().__init__(name, machine)
        self.driver = vmem.Driver(self)
        self.vmem = vmem.devices(self, self.driver)
        self.dimms = Dimms(self)
        self.crash = Crash(self)
        self.vmcore = Vmcore(self)

    def start(self) -> None:
        super().start()
        if self.vmem:
            self.driver.load()
        if self.machine.trace:
            self._requests_before = len(self._all_requests())

    def prepare(self) -> None:
        if self.machine.low_disk:
            disk = self.directory / DISK
            with disk.open("wb") as file:
                file.truncate(parse_size(self.machine.low_disk))
            self._stack.callback(disk.unlink)

    def requests(self) -> list[str]:
        """What the driver has asked its devices since it booted, and the answers, as QEMU traces them."""
        return self._all_requests()[self._requests_before:]

    def _all_requests(self) -> list[str]:
        return (self.directory / REQUESTS).read_text().splitlines()
