# SPDX-License-Identifier: GPL-2.0
"""QEMU's command line: a small machine with memory devices and nothing else, under KVM where there is one."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Sequence

from vmtest import initramfs, paths
from vmtest.errors import Failure
from vmtest.fetched import Fetched
from vmtest.flavours import ARCHITECTURES, HOST, architecture, flavour
from vmtest.units import GIB, format_size, parse_size

OLDEST = (7, 2)
REQUESTS = "requests.log"
TRACE = "trace.log"
DISK = "disk.img"
UNHURRIED = ARCHITECTURES[HOST].unhurried
EMULATED = ["-accel", "tcg,thread=multi"]
DIMMS = GIB  # at most, in all scenarios


@cache
def require(program: str) -> None:
    """Fails unless a QEMU is there that has what we use."""
    if shutil.which(program) is None:
        raise Failure(f"{program} is not installed on this machine. Run `make setup`, or `tools/build`.")
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"version (\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        raise Failure(f"QEMU {OLDEST[0]}.{OLDEST[1]} or newer is needed; {program} says: {said}")


def has_kvm() -> bool:
    """Whether this host lets us use it. Without virtualization in its CPU, what is behind /dev/kvm may not run a PC."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and re.search(r"\b(vmx|svm)\b", cpu) is not None


def accelerators() -> list[str]:
    """KVM, where there is one and nobody says ACCEL=tcg; else emulation."""
    said = os.environ.get("ACCEL", "")
    if said not in ("", "tcg"):
        raise Failure(f"ACCEL={said} is not known. ACCEL=tcg has guests emulated where there is KVM.")
    kvm = ["-accel", "kvm"] if not said and has_kvm() else []
    return [*kvm, *EMULATED]


@dataclass(frozen=True)
class Machine:
    """What a guest is made of."""

    kernel: str  # of configs/flavours.toml
    vmem: Sequence[str] = ()  # the sizes of its virtio-mem devices: vmem0, vmem1, side by side
    memory: str = "512M"  # at boot
    cmdline: str = ""  # appended to the kernel's own
    one_cpu: bool = False
    smp: int = 2  # CPUs, if nothing else is said
    count_instructions: bool = False  # one CPU, on which an instruction takes a nanosecond
    device_block: str = ""  # what a virtio-mem device plugs at least, if it is not that of its architecture
    cpu: str = ""  # with what QEMU gives it if not said
    second_node: bool = False  # a NUMA node with nothing but the virtio-mem devices
    dimms: bool = False  # it is given some, which takes ACPI
    trace: bool = False  # writes what virtio-mem devices are asked and answer to REQUESTS
    plugin: str = ""  # of QEMU, with what it is told
    incoming: bool = False  # it waits for the state of another
    reporting: bool = False  # it reports free pages; what is given back to the host for it is in TRACE
    low_disk: str = ""  # the size of a disk that reaches memory below 4 GiB only, and begins as zeros

    def boot_memory(self) -> str:
        """What it is given: where KASAN is, its shadow of all there may be comes on top."""
        if not flavour(self.kernel).has_kasan:
            return self.memory
        most = parse_size(self.memory) + sum(map(parse_size, self.vmem)) + DIMMS
        return format_size(parse_size(self.memory) + most // 8 // GIB * GIB + GIB)

    @property
    def cpus(self) -> int:
        return 1 if self.one_cpu or self.count_instructions else self.smp

    @property
    def piece(self) -> str:
        """The smallest that a virtio-mem device plugs."""
        return self.device_block or architecture(self.kernel).device_block

    @property
    def emulator(self) -> list[str]:
        """How QEMU is started."""
        board = architecture(self.kernel)
        if board.fetch:
            root = paths.BUILD / "emulator" / flavour(self.kernel).architecture
            return Fetched(root, f"tools/emulator {self.kernel}", board.qemu).emulator()
        require(board.qemu)
        return [board.qemu]

    @property
    def accelerators(self) -> list[str]:
        if self.count_instructions:
            return ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
        if flavour(self.kernel).architecture != HOST:
            return EMULATED
        return accelerators()

    @property
    def channel(self) -> str:
        """The device that the guest's agent is behind."""
        return self.virtio("serial")

    def virtio(self, name: str) -> str:
        """A virtio device, on what its machine has for them."""
        return f"virtio-{name}-{architecture(self.kernel).bus}"

    def boot(self) -> list[str]:
        """What is started first."""
        image = initramfs.image(self.kernel)
        cmdline = f"{architecture(self.kernel).cmdline} {self.cmdline}".strip()
        command = ["-kernel", str(paths.kernel_image(self.kernel)), "-initrd", str(image)]
        return command + ["-append", cmdline]

    def command(self) -> list[str]:
        board = architecture(self.kernel)
        # The kernel kills QEMU when the harness dies, however it dies.
        command = ["setpriv", "--pdeathsig", "KILL", *self.emulator]
        command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        # Not reserved: memory that a guest never touches costs nothing.
        backend = f"memory-backend-ram,id=boot,size={self.boot_memory()},reserve=off"
        command += ["-object", backend, "-machine", f"{board.machine},memory-backend=boot"]
        if self.second_node:
            command[-1] = board.machine
            command += ["-numa", "node,nodeid=0,cpus=0-1,memdev=boot", "-numa", "node,nodeid=1"]
        command += self.accelerators
        cpu = self.cpu or board.cpu
        command += ["-cpu", cpu] if cpu else []
        # Nodes that memory devices are on, and DIMMs, are told by ACPI. Without it a guest boots faster.
        if board.firmware and (self.dimms or self.second_node):
            command += ["-bios", board.firmware]
        command += ["-smp", str(self.cpus)]
        command += ["-m", f"{self.boot_memory()},slots=8,maxmem=400G"]
        command += self.boot()
        # The memory devices come first: a guest with PCI calls them virtio0, virtio1.
        for number, size in enumerate(self.vmem):
            backend, device = f"mem{number}", f"vmem{number}"
            command += ["-object", f"memory-backend-ram,id={backend},size={size},reserve=off"]
            options = f"id={device},memdev={backend},block-size={self.piece}"
            if self.second_node:
                options += ",node=1"
            command += ["-device", f"{self.virtio('mem')},{options}"]
        if self.incoming:
            command += ["-incoming", "defer"]
        if self.reporting:
            command += ["-device", f"{self.virtio('balloon')},free-page-reporting=on"]
            command += ["-trace", "enable=ram_block_discard_range", "-D", TRACE]
        if self.low_disk:
            command += ["-device", "lsi53c895a", "-device", "scsi-hd,drive=disk"]
            command += ["-drive", f"if=none,id=disk,file={DISK},format=raw,cache=unsafe"]
        if self.plugin:
            command += ["-plugin", self.plugin]
        if self.trace:
            command += ["-trace", "enable=virtio_mem_*", "-D", REQUESTS]
        return command
