"""A real crash: the capture kernel finds in /proc/vmcore what the header promised."""

import re
import subprocess

import pytest

from conftest import Boot
from vmtest.elf import PAGE
from vmtest.initramfs import VIRTIO_MEM
from vmtest.units import MIB


@pytest.mark.base("same")
@pytest.mark.complains("Kernel panic - not syncing: NMI")
def test_dump_holds_what_was_plugged(boot: Boot) -> None:
    vm = boot(vmem=["2G"], cmdline="crashkernel=128M memhp_default_state=online_movable")
    vm.load_crash_kernel()
    empty = vm.crash_header()
    vm.resize("1G")
    (ram,) = vm.iomem().under("virtio0")

    promised = vm.crash_header()
    assert [(load.start, load.end) for load in promised if load not in empty] == [
        (ram.start, ram.end)
    ]
    vm.crash()
    assert vm.vmcore_loads() == promised


@pytest.mark.base("same")
@pytest.mark.complains("Kernel panic - not syncing: NMI")
@pytest.mark.parametrize("memmap", ["0", "1"])
def test_makedumpfile_leaves_out_what_is_unplugged(boot: Boot, memmap: str) -> None:
    """It says that it does not know this kernel; what it counts is right all the same, wherever the maps are."""
    vm = boot(
        vmem=["1G"],
        cmdline="crashkernel=192M memhp_default_state=online_movable"
        f" memory_hotplug.memmap_on_memory={memmap}",
    )
    vm.load_crash_kernel()
    vm.resize("384M")
    vm.resize("300M")
    vm.crash()
    vm.sh(f"insmod {VIRTIO_MEM}")
    dump = vm.save_vmcore()
    try:
        command = ["makedumpfile", "--message-level", "16", "-f", "-l", "-d", "31"]
        made = subprocess.run([*command, str(dump), f"{dump}.small"], check=True, capture_output=True, text=True)
    finally:
        dump.unlink()
    counted = dict(re.findall(r"(\w[\w ]*?) *: 0x([0-9a-f]+)", made.stdout + made.stderr))
    assert int(counted["Offline pages"], 16) == 84 * MIB // PAGE
    assert int(counted["Free pages"], 16) > 0


@pytest.mark.base(fails="memory that is offline is not in the dump")
@pytest.mark.complains("Kernel panic - not syncing: NMI")
def test_memory_that_is_offline_is_dumped(boot: Boot) -> None:
    """Though its struct pages were never initialized, and lie in memory that was in use."""
    vm = boot(cmdline="crashkernel=192M memhp_default_state=offline init_on_alloc=0")
    vm.load_crash_kernel()
    vm.sh("mkdir /files && mount -t tmpfs -o size=60% tmpfs /files; yes >/files/full 2>/dev/null || umount /files")
    vm.add_dimm("dimm0", "256M")
    start = vm.dimms()["dimm0"]
    vm.crash()
    held = [(load.start, load.end) for load in vm.vmcore_loads()]
    assert (start, start + 256 * MIB - 1) in held, "memory that is offline is not in the dump"
    dump = vm.save_vmcore()
    command = ["makedumpfile", "--message-level", "16", "-f", "-l", "-d", "31"]
    try:
        subprocess.run([*command, str(dump), f"{dump}.small"], check=True, capture_output=True, text=True)
    finally:
        dump.unlink()
