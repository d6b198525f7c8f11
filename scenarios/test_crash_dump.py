# SPDX-License-Identifier: GPL-2.0
"""A real crash: the capture kernel finds in /proc/vmcore what the header promised."""

import re
import subprocess

import pytest

from conftest import Boot
from vmtest.cmdline import CRASHKERNEL, MOVABLE, OFFLINE
from vmtest.console import CRASHED
from vmtest.elf import Load
from vmtest.units import MIB, PAGE


@pytest.mark.architectures("x86_64")  # CONFIG_CRASH_HOTPLUG
@pytest.mark.base("same")
@pytest.mark.complains(CRASHED)
def test_dump_holds_what_was_plugged(boot: Boot) -> None:
    vm = boot(vmem=["2G"], cmdline=f"crashkernel=128M {MOVABLE}")
    vm.crash.load()
    empty = vm.crash.header()
    vm.vmem[0].resize("1G")
    (ram,) = vm.iomem().under("virtio0")

    promised = vm.crash.header()
    assert [(load.start, load.end) for load in promised if load not in empty] == [
        (ram.start, ram.end)
    ]
    vm.crash.now()
    assert vm.vmcore.loads() == promised


@pytest.mark.architectures("x86_64", "arm64")  # others make the header after the crash
@pytest.mark.base("same")
@pytest.mark.complains(CRASHED)
def test_dump_holds_what_was_there_when_it_was_prepared(boot: Boot) -> None:
    vm = boot(vmem=["2G"], cmdline=f"{CRASHKERNEL} {MOVABLE}")
    vm.crash.load()
    empty = vm.crash.header()
    vm.vmem[0].resize("1G")
    vm.set_state("offline", vm.block_at(vm.iomem().one("virtio0").start) + 2)
    vm.vmem[0].resize("896M")
    plugged = vm.iomem().under("virtio0")
    assert len(plugged) == 2

    vm.crash.load()
    promised = vm.crash.header()
    assert [load for load in promised if load not in empty] == [Load(ram.start, ram.end) for ram in plugged]
    vm.crash.now()
    assert vm.vmcore.loads() == promised


@pytest.mark.architectures("s390x")  # where the header is made after the crash, and the device is asked
@pytest.mark.base("same")
@pytest.mark.may_complain(CRASHED)  # the last words of a kernel that crashes do not always come out
def test_dump_holds_what_was_plugged_when_it_crashed(boot: Boot) -> None:
    vm = boot(vmem=["2G"], cmdline=f"{CRASHKERNEL} {MOVABLE}")
    vm.crash.load()
    vm.vmem[0].resize("1G")
    vm.set_state("offline", vm.block_at(vm.iomem().one(vm.vmem[0].owner).start) + 2)
    vm.vmem[0].resize("896M")
    plugged = vm.iomem().under(vm.vmem[0].owner)
    assert len(plugged) == 2
    vm.crash.now()
    vm.driver.load()
    found = [load for load in vm.vmcore.loads() if load.start >= plugged[0].start]
    assert found == [Load(ram.start, ram.end) for ram in plugged]


@pytest.mark.architectures("x86_64")  # makedumpfile is for the host's
@pytest.mark.base("same")
@pytest.mark.complains(CRASHED)
@pytest.mark.parametrize("memmap", ["0", "1"])
def test_makedumpfile_leaves_out_what_is_unplugged(boot: Boot, makedumpfile: str, memmap: str) -> None:
    """It says that it does not know this kernel; what it counts is right all the same, wherever the maps are."""
    vm = boot(
        vmem=["1G"],
        cmdline=f"{CRASHKERNEL} {MOVABLE}"
        f" memory_hotplug.memmap_on_memory={memmap}",
    )
    vm.crash.load()
    vm.vmem[0].resize("384M")
    vm.vmem[0].resize("300M")
    vm.crash.now()
    vm.driver.load()
    dump = vm.vmcore.save()
    try:
        command = [makedumpfile, "--message-level", "16", "-f", "-l", "-d", "31"]
        made = subprocess.run([*command, str(dump), f"{dump}.small"], check=True, capture_output=True, text=True)
    finally:
        dump.unlink()
    counted = dict(re.findall(r"(\w[\w ]*?) *: 0x([0-9a-f]+)", made.stdout + made.stderr))
    assert int(counted["Offline pages"], 16) == 84 * MIB // PAGE
    assert int(counted["Free pages"], 16) > 0


@pytest.mark.architectures("x86_64")  # DIMMs by ACPI
@pytest.mark.base(fails="memory that is offline is not in the dump")
@pytest.mark.complains(CRASHED)
def test_memory_that_is_offline_is_dumped(boot: Boot, makedumpfile: str) -> None:
    """Though its struct pages were never initialized, and lie in memory that was in use."""
    vm = boot(cmdline=f"{CRASHKERNEL} {OFFLINE} init_on_alloc=0")
    vm.crash.load()
    vm.sh("mkdir /files && mount -t tmpfs -o size=60% tmpfs /files; yes >/files/full 2>/dev/null || umount /files")
    vm.dimms.add("dimm0", "256M")
    start = vm.dimms.start("dimm0")
    vm.crash.now()
    held = [(load.start, load.end) for load in vm.vmcore.loads()]
    assert (start, start + 256 * MIB - 1) in held, "memory that is offline is not in the dump"
    dump = vm.vmcore.save()
    command = [makedumpfile, "--message-level", "16", "-f", "-l", "-d", "31"]
    try:
        subprocess.run([*command, str(dump), f"{dump}.small"], check=True, capture_output=True, text=True)
    finally:
        dump.unlink()
