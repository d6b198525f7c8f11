# SPDX-License-Identifier: GPL-2.0
"""What virtio-mem stands on: pieces below a memory block, offline pages that a dump can skip, and
offlining that gives up fast and quietly."""

import pytest

from conftest import Boot
from vmtest.cmdline import KERNEL, MOVABLE
from vmtest.units import MIB
from vmtest.wait import wait_until


@pytest.mark.base("same")
def test_plug_and_unplug_below_a_memory_block(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline=MOVABLE)
    before = vm.snapshot()
    for size, blocks in [(2, 1), (4, 1), (128, 1), (130, 2), (126, 1), (2, 1), (0, 0)]:
        vm.vmem[0].resize(f"{size}M")
        assert vm.meminfo()["MemTotal"] - before.total == size * MIB
        assert len(vm.memory_blocks()) - len(before.blocks) == blocks
    assert vm.snapshot() == before


@pytest.mark.base("same")
def test_dump_tools_are_told_how_offline_pages_look(boot: Boot) -> None:
    vm = boot()
    address, size = (int(word, 16) for word in vm.sh("cat /sys/kernel/vmcoreinfo").split())
    assert b"\nNUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=-" in vm.physical(address, size)


@pytest.mark.architectures("x86_64")  # which has another zone for what is plugged, and uses that first
@pytest.mark.base("same")
def test_memory_in_use_by_the_kernel_stays_and_the_rest_goes(boot: Boot) -> None:
    vm = boot(vmem=["256M"], cmdline=KERNEL)
    vm.vmem[0].resize("256M")
    # Directories live in kernel memory that cannot move; the newest memory is used first.
    vm.sh("mkdir /run/d && cd /run/d && seq 2000 | xargs mkdir")
    vm.vmem[0].request("0")
    wait_until(lambda: vm.vmem[0].plugged() < 128 * MIB, lambda: f"still plugged: {vm.vmem[0].plugged()}")
    vm.driver.settle()
    assert vm.vmem[0].plugged() > 0

    (ram,) = vm.iomem().under(vm.vmem[0].owner)
    before = len(vm.console())
    offlined = vm.try_state("offline", vm.block_at(ram.start), seconds=20)
    assert offlined.status != 0 and "resource busy" in offlined.text
    # One report of the page in the way (a debug kernel prints it), and nothing over and over.
    assert len(vm.console()[before:].splitlines()) < 20
    assert vm.memory_blocks()[vm.block_at(ram.start)] == "online"
