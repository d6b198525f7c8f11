# SPDX-License-Identifier: GPL-2.0
"""A Debian guest, with systemd, udev and kdump-tools as they come and the kernel package of tools/deb:
tools/debian makes its disk. It boots from an overlay of that, which is gone with the next guest of that name."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from vmtest import paths
from vmtest.errors import Failure
from vmtest.kdump import Kdump
from vmtest.qemu import UNHURRIED, Machine
from vmtest.underqemu import UnderQemu
from vmtest.vmem import Driver, devices

HOME = paths.BUILD / "debian"
FRESH = HOME / "fresh.img"  # without the package
INSTALLED = HOME / "installed.qcow2"
KERNEL = HOME / "installed.vmlinuz"
INITRD = HOME / "installed.initrd"
OVERLAY = "disk.qcow2"
CRASHES = "/var/crash"
PACKAGE = "/run/linux-image.deb"
INSTALL_SECONDS = 900.0


def made(file: Path) -> Path:
    if not file.exists():
        raise Failure(f"{file} is missing. Run `tools/debian`.")
    return file


@dataclass(frozen=True)
class Computer(Machine):
    """A machine with a disk, which reboots when its kernel says so."""

    kernel: str = paths.HOTMEM
    memory: str = "1G"
    disk: Path = INSTALLED
    package: Path | None = None  # a second disk

    def boot(self) -> list[str]:
        cmdline = f"root=/dev/vda rw console=ttyS0 {UNHURRIED} {self.cmdline}".strip()
        command = ["-action", "reboot=reset", "-append", cmdline]
        if self.package:
            # What the package is about to bring, as its own initramfs is not made yet.
            command += ["-kernel", str(paths.kernel_image(self.kernel))]
        else:
            command += ["-kernel", str(made(KERNEL)), "-initrd", str(made(INITRD))]
        command += ["-drive", f"file={OVERLAY},format=qcow2,if=virtio,cache=unsafe"]
        if self.package:
            command += ["-drive", f"file={self.package},format=raw,if=virtio,read-only=on"]
        return command


class Debian(UnderQemu):
    """A Debian guest, whose memory grows and shrinks. Its crash kernel is the business of kdump-tools."""

    # Its boot_seconds are for systemd and kdump-tools, too; after a crash for saving the dump as well.
    machine: Computer

    def __init__(self, name: str, machine: Computer) -> None:
        super().__init__(name, machine)
        # The driver is not a module here, and is loaded by nobody.
        self.vmem = devices(self, Driver(self))

    def prepare(self) -> None:
        make_overlay(self.machine.disk, self.directory / OVERLAY)

    def shut_down(self) -> None:
        self.sh("(sleep 0.2; systemctl poweroff) >/dev/null 2>&1 &")
        self.wait_ended()

    def read(self, path: str) -> bytes:
        """A file of the guest."""
        result = self.run(f"cat {path}", INSTALL_SECONDS)
        if result.status:
            raise Failure(f"guest {self.name} has no {path}: {result.text}")
        return result.output

    def kdump_state(self) -> str:
        """What kdump-tools says of itself, once udev has told it all that has happened."""
        self.sh("udevadm settle --timeout=300", self.boot_seconds)
        return self.sh("kdump-config status").rpartition(": ")[2]

    def crash(self) -> None:
        """Crashes the guest; when it answers again, kdump-tools has saved a dump and rebooted."""
        self.restart("sync; echo c >/proc/sysrq-trigger")

    def dump(self) -> Kdump:
        """The only dump that kdump-tools has saved."""
        return Kdump(self.read(f"{CRASHES}/2*/dump.*"))


def make_overlay(disk: Path, overlay: Path) -> None:
    form = "qcow2" if disk.suffix == ".qcow2" else "raw"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", str(made(disk)), str(overlay)]
    subprocess.run(command, check=True)


def install(package: Path) -> None:
    """Installs it in the guest that was made, and keeps what that gives."""
    computer = Computer(cmdline="crashkernel=256M", disk=FRESH, package=package)
    with Debian("debian", computer) as vm:
        vm.sh(f"head -c {package.stat().st_size} /dev/vdb >{PACKAGE}")
        vm.sh(f"apt-get install -y {PACKAGE}", INSTALL_SECONDS)
        # The crash kernel, which it can have from now on, needs an initramfs.
        vm.sh("systemctl restart kdump-tools", INSTALL_SECONDS)
        KERNEL.write_bytes(vm.read("/boot/vmlinuz-*"))
        INITRD.write_bytes(vm.read("/boot/initrd.img-*"))
        vm.shut_down()
        (vm.directory / OVERLAY).rename(INSTALLED)
