# SPDX-License-Identifier: GPL-2.0
"""A PVH dom0 under real Xen: page tables are no matter of the hypervisor's, and memory maps all that memory costs."""

import pytest

from conftest import BootDom0
from dom0 import agree, ask_in_vain, nothing_lost
from vmtest.cmdline import HOSTED, HOSTED_MOVABLE, ONLINE
from vmtest.units import GIB, KIB, MIB, memmap
from vmtest.xen import EXPERIMENTAL

pytestmark = pytest.mark.complains(EXPERIMENTAL)


@pytest.mark.base(fails="the system paid for the memory map")
def test_a_small_dom0_grows_a_lot(boot_dom0: BootDom0) -> None:
    vm = boot_dom0("400M,max:400M", memory="6G", cmdline=HOSTED_MOVABLE, pvh=True)
    vm.allow("5G")
    start = vm.held()  # a page less than asked for
    total, free = vm.meminfo()["MemTotal"], vm.boot_memory_free()
    for gib in [1, 2, 4]:
        vm.reach(gib * GIB)
        agree(vm, gib * GIB)
        added = sum(ram.size for ram in vm.hotplugged())
        grown = gib * GIB - start
        taken = (free - vm.boot_memory_free()) / (grown / GIB) / KIB
        print(f"{vm.name}: {taken:.0f} KiB of boot memory for each GiB more, at {gib} GiB")
        assert vm.hosted_maps() == memmap(added), "the system paid for the memory map"
        assert vm.meminfo()["MemTotal"] == total + grown - memmap(added)
    assert taken <= 64


@pytest.mark.base(fails="the system paid for the memory map")
def test_both_ways(boot_dom0: BootDom0) -> None:
    vm = boot_dom0(cmdline=f"{HOSTED} {ONLINE}", memory="6G", pvh=True)
    vm.allow("2G")
    start, total = vm.held(), vm.meminfo()["MemTotal"]
    # Two memory blocks begin with less than a memory map takes: not hosted. The six others are.
    for more in [1, 128, 130, 133, 512, 88, 988, 288]:
        vm.reach(start + more * MIB)
        agree(vm, start + more * MIB)
        assert vm.meminfo()["MemTotal"] == total + more * MIB - vm.hosted_maps()
        assert len(vm.hotplugged()) == 1
    assert vm.hosted_maps() == 6 * 2 * MIB, "the system paid for the memory map"


@pytest.mark.base(fails="what cannot be had is added")
def test_refused_by_the_hypervisor(boot_dom0: BootDom0) -> None:
    """Half of a memory map is given, and given back."""
    vm = boot_dom0(cmdline=f"{HOSTED} {ONLINE}", memory="6G", pvh=True)
    start, before = vm.held(), vm.snapshot()
    ask_in_vain(vm)
    nothing_lost(vm, start, before)
    vm.allow("1G")
    vm.reach(769 * MIB)
    agree(vm, 769 * MIB)
