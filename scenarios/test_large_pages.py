# SPDX-License-Identifier: GPL-2.0
"""Pages of 64 KiB: a memory block has 512 MiB, and its memory map half a MiB of that."""

import pytest

from conftest import Boot
from vmtest.cmdline import FORCED, HOSTED_MOVABLE, MOVABLE
from vmtest.console import Complaint
from vmtest.limits import THP
from vmtest.units import GIB, MIB, parse_size
from vmtest.wait import wait_until

PAGEBLOCK = 8 * MIB  # by the kernel's configuration
IN_PART = Complaint("WARNING: .*page_isolation", "asks for a part of a huge page", "the base has 20-memmap/0003")


@pytest.mark.base(fails="the system paid for the memory map")
def test_memory_blocks_host_their_memory_map(boot_large_pages: Boot) -> None:
    vm = boot_large_pages(vmem=["8G"], cmdline=f"{FORCED} {MOVABLE}")
    assert vm.block_size == 512 * MIB
    before = vm.snapshot()
    for size in ["4G", "8G", "1G", "0"]:
        vm.vmem[0].resize(size)
        plugged = parse_size(size)
        maps = plugged // vm.block_size * PAGEBLOCK
        assert vm.meminfo()["MemTotal"] == before.total + plugged - maps, "the system paid for the memory map"
        assert maps <= plugged * 2 // 100
        assert len(vm.iomem().under(vm.vmem[0].owner)) == bool(plugged)
    assert vm.snapshot() == before


@pytest.mark.base(fails="the log does not say why")
def test_the_log_names_the_option(boot_large_pages: Boot) -> None:
    """Pageblocks are larger than the memory map: without force, it cannot be hosted."""
    vm = boot_large_pages(vmem=["2G"], cmdline=HOSTED_MOVABLE)
    before = vm.snapshot()
    vm.vmem[0].resize("1G")
    said = vm.sh("dmesg | grep 'memmap_on_memory has no effect' || :")
    assert "CONFIG_PAGE_BLOCK_MAX_ORDER" in said, "the log does not say why"
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before


@pytest.mark.base(fails="asks for a part of a huge page", complains=IN_PART)
def test_nobody_unplugs_a_part_of_a_huge_page(boot_large_pages: Boot) -> None:
    """Pageblocks are smaller than huge pages, of which each takes a memory block."""
    vm = boot_large_pages(vmem=["2G"], memory="4G", cmdline=MOVABLE)
    vm.vmem[0].resize("2G")
    # A buffer of two huge pages, which nobody takes it from.
    buffer = "sleep 9999 <pipe & exec dd if=/dev/zero of=pipe bs=1G count=1"
    vm.sh(f"echo always >{THP}/enabled; mkfifo pipe; ({buffer}) >/dev/null 2>&1 </dev/null &")
    wait_until(lambda: vm.meminfo()["AnonHugePages"] >= GIB, lambda: "no huge pages")
    vm.vmem[0].request("768M")
    wait_until(lambda: vm.vmem[0].plugged() <= GIB, lambda: f"{vm.vmem[0].plugged()} stay plugged")
    vm.driver.settle()
    assert "page_isolation" not in vm.sh("dmesg"), "asks for a part of a huge page"
    vm.vmem[0].resize("512M")
