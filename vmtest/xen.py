# SPDX-License-Identifier: GPL-2.0
"""Real Xen under QEMU, with our kernel as its dom0: the first domain, which has most of the machine."""

from dataclasses import dataclass

from vmtest import initramfs, paths
from vmtest.console import Complaint
from vmtest.fetched import Fetched
from vmtest.iomem import Resource
from vmtest.qemu import Machine
from vmtest.underqemu import UnderQemu
from vmtest.units import KIB, parse_size
from vmtest.wait import SECONDS, wait_until

FETCHED = Fetched(paths.BUILD / "xen", "tools/xen")
BALLOON = "/sys/devices/system/xen_memory/xen_memory0"
LAZY = Complaint(
    "xen_(start|end)_context_switch", "takes the lazy MMU mode of a new task for paused", "the base has 50-xen/0001"
)
EXPERIMENTAL = Complaint("PVH is an experimental mode", "Xen says so of such a dom0", "Xen supports it")


@dataclass(frozen=True)
class Host(Machine):
    """A machine that boots Xen, which boots the kernel."""

    memory: str = "4G"  # of the machine
    dom0: str = "512M,max:512M"  # what dom0 is given at first, and at most
    pvh: bool = False  # what dom0 is, in place of PV

    @property
    def cpus(self) -> int:
        # Each page that a PVH domain gives back is flushed from all CPUs, which takes two of them 2 ms.
        return 1 if self.pvh else super().cpus

    @property
    def accelerators(self) -> list[str]:
        # A hypervisor below Xen would have to nest, and have the CPU that is asked for.
        return ["-accel", "tcg,thread=multi"]

    @property
    def emulator(self) -> list[str]:
        # Whatever this machine's QEMU is: 10.0 stops a PVH dom0 while it boots.
        return FETCHED.emulator()

    @property
    def channel(self) -> str:
        # A PV domain does not know where its memory is: DMA takes the way of the DMA API.
        return super().channel + ",disable-legacy=on,iommu_platform=on"

    def boot(self) -> list[str]:
        image = initramfs.image(self.kernel)
        cmdline = f"console=hvc0 panic=-1 {self.cmdline}".strip().replace(",", ",,")
        modules = f"{paths.kernel_image(self.kernel)} {cmdline},{image}"
        # QEMU 7.2 gets smap wrong where Xen is concerned.
        cpu, options = "max,-smap", f"com1=115200,8n1 console=com1 bootscrub=0 dom0_mem={self.dom0}"
        command = ["-kernel", str(FETCHED.file("xen")), "-initrd", modules]
        if self.pvh:
            # And these where a domain uses them that is not PV: its programs die of AVX, and Xen of rdtscp.
            cpu, options = f"{cpu},-xsave,-rdtscp", f"{options} dom0=pvh"
            command += ["-device", "amd-iommu"]
        return command + ["-cpu", cpu, "-append", options]


class Dom0(UnderQemu):
    """A dom0, whose memory grows and shrinks by its balloon driver."""

    machine: Host

    def start(self) -> None:
        super().start()
        self._booted_with = {(ram.start, ram.end) for ram in self.iomem().named("System RAM")}

    def hotplugged(self) -> list[Resource]:
        """What the balloon driver has added."""
        ram = self.iomem().named("System RAM")
        return [each for each in ram if (each.start, each.end) not in self._booted_with]

    def allow(self, size: str) -> None:
        """Raises, or lowers, what the hypervisor lets it have."""
        most = parse_size(size) // KIB
        self.sh(f"xenmem limit {most}")
        if self.machine.pvh:
            # Xen has set aside page tables for what it boots with. A host's tools give a guest as much as this.
            self.sh(f"xenmem pool {most // 128 + KIB}")

    def held(self) -> int:
        """How much it has in fact: what the hypervisor says, in bytes."""
        return int(self.sh("xenmem current")) * KIB

    def keep_grants(self, pages: int) -> None:
        """Has gntdev set aside pages for what other domains may grant."""
        self.sh(f": >/run/grants; (grants {pages} >/run/grants 2>&1 </dev/null &)")
        wait_until(
            lambda: self.sh("cat /run/grants") != "", lambda: "gntdev does not answer"
        )
        assert self.sh("cat /run/grants") == "ready"

    def balloon(self, name: str) -> int:
        """A figure of the balloon driver, in bytes."""
        return int(self.sh(f"cat {BALLOON}/{name}")) * KIB

    def ask(self, size: int) -> None:
        """Sets the target and does not wait."""
        self.sh(f"echo {size // KIB} >{BALLOON}/target_kb")

    def reach(self, size: int, seconds: float = SECONDS) -> None:
        """Sets the target and waits until the domain has just that."""
        self.ask(size)
        wait_until(
            lambda: self.balloon("info/current_kb") == size,
            lambda: f"{self.name} has {self.balloon('info/current_kb')} of {size} bytes:\n"
            f"{self.sh(f'uptime; grep . {BALLOON}/*_delay {BALLOON}/*retry_count')}\n"
            f"{self.iomem().text}\n{self.last_words()}",
            seconds,
        )
        self.pass_hotplug_lock()
