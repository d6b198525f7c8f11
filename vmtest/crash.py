# SPDX-License-Identifier: GPL-2.0
"""A guest with a crash kernel (crashkernel= on its command line): before it crashes, and after."""

from pathlib import Path

from vmtest import elf, initramfs
from vmtest.errors import Failure
from vmtest.flavours import architecture
from vmtest.underqemu import UnderQemu
from vmtest.units import MIB, PAGE

PIECE = 16 * MIB  # of a dump; the capture kernel has little memory


class Crash:
    """The kernel that is loaded for a crash, and the crash."""

    def __init__(self, guest: UnderQemu) -> None:
        self._guest = guest

    def load(self) -> None:
        self._guest.sh(self.loader())

    def loader(self, how: str = "kexec -s") -> str:
        """`how`: -s lets the kernel make the header, -c makes kexec do so from /proc/iomem."""
        return (
            f"{how} -p {initramfs.CRASH_KERNEL} --initrd={initramfs.CAPTURE_IMAGE}"
            f" --append='{architecture(self._guest.machine.kernel).cmdline} nr_cpus=1 irqpoll reset_devices'"
        )

    def header(self) -> list[elf.Load]:
        """What a dump would hold if the guest crashed now: the header made for the crash kernel."""
        region = self._guest.iomem().one("Crash kernel")
        header = elf.find_core_header(self._guest.physical(region.start, region.size))
        if header is None:
            raise Failure(f"guest {self._guest.name} has no crash header in {region}")
        return elf.loads(header)

    def arm(self) -> None:
        """From now on an NMI crashes the guest."""
        self._guest.sh("echo 1 >/proc/sys/kernel/unknown_nmi_panic")

    def strike(self) -> None:
        """Crashes a guest that is armed, and does not wait."""
        self._guest.qemu("inject-nmi")

    def now(self) -> None:
        """Crashes the guest; from then on it is the capture kernel that answers."""
        if not architecture(self._guest.machine.kernel).nmi:
            self._guest.restart("echo c >/proc/sysrq-trigger")
            return
        self.arm()
        self.strike()
        self._guest.wait_booted()


class Vmcore:
    """The dump that a capture kernel has."""

    def __init__(self, guest: UnderQemu) -> None:
        self._guest = guest

    def loads(self) -> list[elf.Load]:
        """What it holds. Header, program headers and notes are in whole pages before the memory."""
        return elf.loads(self._guest.run("head -c $((0x100000)) /proc/vmcore").output)

    def read(self, addresses: list[int], size: int = PAGE) -> bytes:
        """The crashed kernel's physical memory: pieces of one size, one behind the other."""
        loads = self.loads()
        places = " ".join(str(elf.offset(loads, address, size) // PAGE) for address in addresses)
        return self._guest.run(
            f"for skip in {places}; do dd if=/proc/vmcore bs={PAGE} skip=$skip"
            f" count={size // PAGE} 2>/dev/null; done"
        ).output

    def save(self) -> Path:
        """All of it, as a file of the host."""
        file = self._guest.directory / "vmcore"
        pieces = -(-int(self._guest.sh("stat -c %s /proc/vmcore")) // PIECE)
        with open(file, "wb") as copy:
            for number in range(pieces):
                dd = f"dd if=/proc/vmcore bs={PIECE} skip={number} count=1 2>/dev/null"
                copy.write(self._guest.run(dd).output)
        return file
