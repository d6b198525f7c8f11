# SPDX-License-Identifier: GPL-2.0
"""A guest whose memory grows by Hyper-V's protocol, on a machine with neither Hyper-V nor KVM.

Level 0, here: a QEMU that emulates a CPU with AMD's virtualization. Level 1: a kernel of Debian,
whose KVM makes use of that CPU, and a second QEMU, which speaks the protocol. Level 2: the kernel
under test. Agent, console and QMP of level 2 go through virtio ports of level 1, and are sockets here
as those of any guest.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from vmtest import initramfs, paths
from vmtest.errors import Failure
from vmtest.fetched import Fetched
from vmtest.iomem import Resource
from vmtest.qemu import UNHURRIED, Machine
from vmtest.underqemu import Monitored, UnderQemu
from vmtest.units import GIB, PAGE, format_size, parse_size
from vmtest.wait import wait_until

FETCHED = Fetched(paths.BUILD / "hyperv", "tools/hyperv")
FIRMWARE = ["seabios/bios-256k.bin", "qemu/kvmvapic.bin", "qemu/linuxboot_dma.bin"]
MODULES = [
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/char/virtio_console.ko",
    "virt/lib/irqbypass.ko",
    "arch/x86/kvm/kvm.ko",
    "arch/x86/kvm/kvm-amd.ko",
]
CONSOLE = "level2.log"
COUNTERS = "/sys/kernel/debug/hv-balloon"
ENLIGHTENED = (
    # Without kvm=off the guest takes it for KVM.
    "host,kvm=off,hv-relaxed,hv-vapic,hv-time,hv-vpindex,hv-runtime,hv-synic,hv-stimer"
    ",hv-frequencies,hv-reset"
)
PARAMETERS = "/sys/module/hv_balloon/parameters"


def _level1_image(kernel: str) -> Path:
    """What runs QEMU on KVM, and level 2's kernel and initramfs."""
    files = {
        "/init": paths.ROOT / "guest/init",
        "/agent": paths.ROOT / "guest/agent",
        "/bin/busybox": initramfs.tool("busybox", kernel),
        "/bin/chrt": FETCHED.file("usr/bin/chrt"),
        "/bin/qemu": FETCHED.qemu,
        "/lib64/ld-linux-x86-64.so.2": FETCHED.linker,
        "/level2/bzImage": paths.kernel_image(kernel),
        "/level2/initramfs": initramfs.small_image(kernel),
    }
    for program in ["/bin/chrt", "/bin/qemu"]:
        loaded = initramfs.libraries(files[program], FETCHED.linked("--list")).values()
        files |= {f"/lib/{library.name}": library for library in loaded}
    for file in FIRMWARE:
        files[f"/firmware/{Path(file).name}"] = FETCHED.file(f"usr/share/{file}")
    for number, module in enumerate(MODULES):
        files[f"/lib/early/{number:02}.ko"] = FETCHED.file(f"lib/modules/*/kernel/{module}")
    # Not packed: unpacking takes an emulated CPU longer than reading does.
    return initramfs.archive(kernel, f"{kernel}-hyperv", files, packed=False)


@dataclass(frozen=True)
class Level1(Machine):
    """What runs level 2; its kernel is level 2's."""

    def command(self) -> list[str]:
        image = _level1_image(self.kernel)
        command = ["setpriv", "--pdeathsig", "KILL", *FETCHED.emulator()]
        command += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-object", f"memory-backend-ram,id=boot,size={self.memory},reserve=off"]
        command += ["-machine", "q35,memory-backend=boot", "-m", self.memory]
        command += ["-accel", "tcg", "-cpu", "max,la57=off", "-smp", "1"]
        command += ["-kernel", str(FETCHED.file("boot/vmlinuz-*")), "-initrd", str(image)]
        cmdline = f"console=ttyS1 {UNHURRIED} panic=-1 mitigations=off nokaslr no5lvl quiet"
        command += ["-append", cmdline]
        # The console of level 2; that of level 1 comes behind it.
        return command + ["-serial", f"file:{CONSOLE}"]


def _level2(machine: Machine, most: str) -> str:
    """The script that runs level 2; level 1 ends when it does."""
    cmdline = f"console=ttyS0 panic=-1 hv_balloon.pressure_report_delay=1000000 {machine.cmdline}"
    command = ["qemu", "-L", "/firmware", "-nodefaults", "-no-user-config", "-display", "none"]
    command += ["-no-reboot", "-accel", "kvm", "-machine", "q35,memory-backend=boot"]
    command += ["-cpu", ENLIGHTENED, "-smp", "1", "-m", f"{machine.memory},maxmem=64G"]
    command += ["-object", f"memory-backend-ram,id=boot,size={machine.memory},reserve=off"]
    command += ["-kernel", "/level2/bzImage", "-initrd", "/level2/initramfs"]
    command += ["-append", f"'{cmdline.strip()}'"]
    # The driver adds no memory to a guest that may hibernate.
    command += ["-global", "ICH9-LPC.disable_s4=1", "-device", "vmbus-bridge"]
    command += ["-object", f"memory-backend-ram,id=mem,size={most},reserve=off"]
    command += ["-device", "hv-balloon,id=balloon,memdev=mem,status-report=on"]
    command += ["-chardev", "serial,id=console,path=/dev/ttyS0", "-serial", "chardev:console"]
    command += ["-chardev", "pipe,id=qmp,path=$(echo /dev/vport*p2)", "-mon", "qmp,mode=control"]
    command += ["-chardev", "pipe,id=agent,path=$(echo /dev/vport*p3)"]
    command += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent"]
    # QEMU 10.0 can abort when a message of the guest waits just when it looks for room to answer.
    # Ahead of the guest's CPU, its main thread has taken the message by then. The guest's CPU must
    # not inherit that: of two threads that are ahead of all others, one waits for ever.
    return (
        "until [ -e /dev/vport*p3 ]; do sleep 0.05; done; "
        f"{{ chrt --reset-on-fork --fifo 1 {' '.join(command)}"
        "; echo QEMU of level 2 ended: $?; poweroff -f; } >/dev/console 2>&1 3>&- &"
    )


class HyperV(Monitored):
    """A guest under Hyper-V's protocol, of which its balloon is all that is of interest."""

    console_file = CONSOLE

    def __init__(self, name: str, machine: Machine, most: str = "2G") -> None:
        """`most`: what can be added to the memory that it has at boot."""
        super().__init__(name, machine)
        self._most = most
        level1 = Level1(machine.kernel, memory="4G")
        self._level1 = UnderQemu(name, level1, ports=["level2-qmp", "level2-agent"])

    def start(self) -> None:
        self._stack.enter_context(self._level1)
        self._level1.sh(_level2(self.machine, self._most))
        sockets = self._level1.sockets
        self.connect_qemu(sockets["level2-qmp"])
        self.connect(sockets["level2-agent"])

    def log(self) -> str:
        return self._level1.log() + self.console()

    def actual(self) -> int:
        """How much memory the guest has, as the device says, in bytes."""
        return int(self.qemu("query-balloon")["actual"])

    def request(self, size: str) -> None:
        """Asks for `size` in all, and does not wait."""
        self.qemu("balloon", value=parse_size(size))

    def resize(self, size: str) -> None:
        """Asks for `size` in all, and waits until the device and then the driver say so, too."""
        want = parse_size(size)
        self.request(size)
        wait_until(
            lambda: self.actual() == want and self.driver_has() == want,
            lambda: f"guest {self.name} is stuck at {format_size(self.actual())} of {size}, "
            f"the driver says {format_size(self.driver_has())}",
        )

    def counters(self) -> dict[str, int]:
        """What the driver says of itself, in pages."""
        lines = self.sh(f"cat {COUNTERS}").splitlines()
        found = (re.match(r"(\w+) *: (\d+)$", line) for line in lines)
        return {match[1]: int(match[2]) for match in found if match}

    def driver_has(self) -> int:
        """How much memory the guest has, as the driver says, in bytes."""
        pages = self.counters()
        change = pages["pages_added"] - pages["pages_ballooned"]
        return parse_size(self.machine.memory) + change * PAGE

    def hot_added(self) -> list[Resource]:
        """What is System RAM behind the memory that the guest has at boot."""
        ram = self.iomem().named("System RAM")
        return [entry for entry in ram if entry.start >= 4 * GIB]

    def report(self) -> int:
        """What the device was told that the guest has committed, in bytes.

        From then on the driver reports every second, which QEMU 10.0 does not always survive when it
        makes requests itself: for the end of a scenario.
        """

        def reported() -> int:
            try:
                return int(self.qemu("query-hv-balloon-status-report")["committed"])
            except Failure:
                return 0  # no report yet

        self.sh(f"echo 0 >{PARAMETERS}/pressure_report_delay")
        wait_until(lambda: reported() > 0, lambda: "the driver reports nothing")
        return reported()
