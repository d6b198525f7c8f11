# SPDX-License-Identifier: GPL-2.0
"""The guest of most scenarios: a small PC, with memory devices and a crash kernel."""

from typing import Callable

from vmtest import vmem
from vmtest.crash import Crash, Vmcore
from vmtest.dimms import Dimms
from vmtest.errors import Failure
from vmtest.qemu import DISK, REQUESTS, Machine
from vmtest.underqemu import UnderQemu
from vmtest.units import parse_size
from vmtest.wait import wait_until

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


class VM(UnderQemu):
    def __init__(self, name: str, machine: Machine) -> None:
        super().__init__(name, machine)
        self.driver = vmem.Driver(self)
        self.vmem = vmem.devices(self, self.driver)
        self.dimms = Dimms(self)
        self.crash = Crash(self)
        self.vmcore = Vmcore(self)
        self._requests_before = 0

    def start(self) -> None:
        super().start()
        if not self.console():
            raise Failure(f"guest {self.name} has booted without a word: what its kernel complains about is lost")
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

    def read_iomem_while(self, change: Callable[[], None]) -> list[str]:
        """The lines that a reader of /proc/iomem gets if `change` is made before it is through."""
        self.sh(READER)
        wait_until(lambda: "virtio_mem" in self.sh("cat seen"), lambda: "no reader starts")
        change()
        self.sh("echo >go")
        wait_until(lambda: self.run("[ -e finished ]").status == 0, lambda: "the reader hangs")
        return self.sh("cat seen").splitlines()

    def requests(self) -> list[str]:
        """What the driver has asked its devices since it booted, and the answers, as QEMU traces them."""
        return self._all_requests()[self._requests_before:]

    def _all_requests(self) -> list[str]:
        return (self.directory / REQUESTS).read_text().splitlines()
