# SPDX-License-Identifier: GPL-2.0
"""The kernel package in a Debian guest, with Debian's own tools around it: what `make deb` is for."""

import pytest

from conftest import BootDebian, BootLibvirt
from vmtest import canary, dump
from vmtest.cmdline import HOSTED, MOVABLE
from vmtest.console import crashed_by
from vmtest.units import GIB, MIB, PAGE, parse_size

pytestmark = pytest.mark.long
CMDLINE = f"crashkernel=256M {MOVABLE} {HOSTED}"

# As docs/using.md says: the kernel keeps the header of the crash kernel up to date. Debian 12's rule is there to load
# the crash kernel anew for each memory block, and cannot: udev does not let what it starts do so.
LET_THE_KERNEL_UPDATE = """
echo 'KDUMP_KEXEC_ARGS=-s' >>/etc/default/kdump-tools
ln -s /dev/null /etc/udev/rules.d/50-kdump-tools.rules
udevadm control --reload
systemctl restart kdump-tools
"""


@pytest.mark.base("absent")
@pytest.mark.complains(crashed_by("sysrq triggered crash"))
def test_kdump_tools_saves_what_is_plugged(boot_debian: BootDebian) -> None:
    vm = boot_debian(vmem=["4G"], cmdline=CMDLINE)
    vm.sh(LET_THE_KERNEL_UPDATE)
    assert vm.kdump_state() == "ready to kdump"
    boot_memory = vm.meminfo()["MemTotal"]
    vm.vmem[0].resize("3G")
    assert vm.meminfo()["MemTotal"] - boot_memory > parse_size("3G") * 95 // 100
    vm.vmem[0].resize("2G")
    assert vm.kdump_state() == "ready to kdump"

    pages = [address for address in canary.fill(vm, 32) if address >= 4 * GIB]
    assert len(pages) > 16 * MIB // PAGE  # most are in memory that was plugged
    there = dump.expected(vm.iomem())
    vm.crash()

    assert "sysrq: Trigger a crash" in vm.sh("cat /var/crash/2*/dmesg.*")
    saved = vm.dump()
    assert dump.without(saved.memory, 0, MIB - 1) == there
    for address in sorted({*pages[:: len(pages) // 200], *dump.borders(pages)}):
        assert canary.alive(saved.page(address), address), f"{address:x}"
    assert vm.kdump_state() == "ready to kdump"


@pytest.mark.base("absent")
def test_libvirt_resizes_it(boot_libvirt: BootLibvirt) -> None:
    vm = boot_libvirt(vmem=["4G"], cmdline=CMDLINE)
    boot_memory = vm.meminfo()["MemTotal"]
    for size in ["2G", "4G", "1G", "0"]:
        vm.vmem[0].resize(size)  # until virsh dumpxml and /proc/iomem say so
        more = vm.meminfo()["MemTotal"] - boot_memory
        assert parse_size(size) * 95 // 100 <= more <= parse_size(size), size
