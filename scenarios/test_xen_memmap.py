# SPDX-License-Identifier: GPL-2.0
"""memory_hotplug.memmap_on_memory under Xen: the hypervisor gives the memory map first, as part of the target."""

import pytest

from conftest import BootDom0
from dom0 import agree, ask_in_vain, nothing_lost
from vmtest import failures
from vmtest.cmdline import HOSTED, HOSTED_MOVABLE, OFFLINE, ONLINE
from vmtest.flavours import is_base
from vmtest.paths import BALLOONED
from vmtest.units import GIB, KIB, MIB, memmap, parse_size
from vmtest.wait import SECONDS, wait_until
from vmtest.xen import LAZY

CMDLINE = f"{HOSTED} {ONLINE}"


@pytest.mark.base(fails="the system paid for the memory map", complains=LAZY)
def test_a_small_dom0_grows_a_lot(boot_dom0: BootDom0) -> None:
    vm = boot_dom0(dom0="400M,max:400M", memory="6G", cmdline=HOSTED_MOVABLE)
    vm.allow("5G")
    total, free = vm.meminfo()["MemTotal"], vm.boot_memory_free()
    for gib in [1, 4]:
        vm.reach(gib * GIB)
        agree(vm, gib * GIB)
        added = sum(ram.size for ram in vm.hotplugged())
        grown = gib * GIB - 400 * MIB
        taken = (free - vm.boot_memory_free()) / (grown / GIB) / KIB
        print(f"{vm.name}: {taken:.0f} KiB of boot memory for each GiB more, at {gib} GiB")
        assert vm.hosted_maps() == memmap(added), "the system paid for the memory map"
        assert vm.meminfo()["MemTotal"] == total + grown - memmap(added)
        # The page tables of the direct map, and the list of the machine's page frames.
        assert taken < 4.5 * MIB / KIB


@pytest.mark.base(fails="the system paid for the memory map", complains=LAZY)
def test_both_ways(boot_dom0: BootDom0) -> None:
    vm = boot_dom0(cmdline=CMDLINE)
    vm.allow("2G")
    total = vm.meminfo()["MemTotal"]
    # Two memory blocks begin with less than a memory map takes: not hosted. The six others are.
    for size in ["513M", "640M", "642M", "645M", "1G", "600M", "1500M", "800M"]:
        vm.reach(parse_size(size))
        agree(vm, parse_size(size))
        assert vm.meminfo()["MemTotal"] == total + parse_size(size) - 512 * MIB - vm.hosted_maps()
        assert len(vm.hotplugged()) == 1
    assert vm.hosted_maps() == 6 * 2 * MIB, "the system paid for the memory map"


EACH_OFFLINE = """
    for i in /sys/devices/system/memory/memory*/state; do
        [ "$(cat $i)" = offline ] && echo online >$i
    done; true
"""  # as drivers/xen/Kconfig says


@pytest.mark.base("absent")
def test_all_is_there_for_whoever_onlines_it(boot_dom0: BootDom0) -> None:
    """With the offline policy, no memory block waits for another to be online, and one loop finds all of them."""
    vm = boot_dom0(cmdline=f"{HOSTED} {OFFLINE}")
    vm.allow("1G")
    vm.ask(1 * GIB)
    wait_until(lambda: sum(ram.size for ram in vm.hotplugged()) == 512 * MIB, lambda: vm.iomem().text)
    vm.sh(EACH_OFFLINE)
    vm.reach(1 * GIB)
    agree(vm, 1 * GIB)


@pytest.mark.base(fails="what cannot be had is added", complains=LAZY)
def test_refused_by_the_hypervisor(boot_dom0: BootDom0) -> None:
    vm = boot_dom0(cmdline=CMDLINE)
    before = vm.snapshot()
    ask_in_vain(vm)
    nothing_lost(vm, 512 * MIB, before)
    vm.allow("1G")
    vm.reach(768 * MIB)  # tried again within seconds
    agree(vm, 768 * MIB)
    assert vm.sh("dmesg | grep -c 'Cannot add additional memory'") == "1"


@pytest.mark.base("same", complains=LAZY)
def test_grants_do_not_wait_for_a_target(boot_dom0: BootDom0, kernel: str) -> None:
    """What the hypervisor refuses the target is no matter to pages for grants, which it gives nothing for."""
    vm = boot_dom0(kernel=kernel + BALLOONED, cmdline=CMDLINE)
    vm.ask(768 * MIB)
    vm.sh("echo 1 >/proc/sys/xen/balloon/hotplug_unpopulated")
    vm.keep_grants(1000)
    assert vm.held() == vm.balloon("info/current_kb") == 512 * MIB
    assert vm.hotplugged() and vm.hosted_maps() == 0


@pytest.mark.base(fails="gives up", complains=LAZY)
@pytest.mark.parametrize("kind", failures.ALLOCATIONS)
def test_no_memory_to_add_memory(boot_dom0: BootDom0, kernel: str, kind: str) -> None:
    vm = boot_dom0(cmdline=CMDLINE)
    vm.allow("4G")
    total, size, hit = vm.meminfo()["MemTotal"], 512 * MIB, 0
    for after in [1, 2, 5, 12]:
        size += 129 * MIB
        with failures.failing_allocation(vm, kind, after, below="reserve_additional_memory"):
            vm.ask(size)
            seconds = 20 if is_base(kernel) else SECONDS
            wait_until(lambda: vm.balloon("info/current_kb") == size, lambda: "gives up", seconds)
            vm.reach(size)
            hit += failures.failed(vm, kind)
        agree(vm, size)
        assert vm.meminfo()["MemTotal"] == total + size - 512 * MIB - vm.hosted_maps()
        assert len(vm.hotplugged()) == 1
    assert hit > 2
