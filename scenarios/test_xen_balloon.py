# SPDX-License-Identifier: GPL-2.0
"""A dom0 under real Xen whose balloon driver adds memory, and gives and takes pages of it."""

import pytest

from conftest import BootDom0
from dom0 import agree
from vmtest.cmdline import MOVABLE, ONLINE
from vmtest.flavours import is_base
from vmtest.paths import BALLOONED
from vmtest.units import GIB, KIB, MIB, parse_size
from vmtest.wait import SECONDS, wait_until
from vmtest.xen import LAZY


@pytest.mark.base("same", complains=LAZY)
def test_one_line_at_every_step_and_ballooning_both_ways(boot_dom0: BootDom0) -> None:
    vm = boot_dom0(cmdline=ONLINE)
    before = vm.snapshot()
    vm.allow("2G")
    for size in ["513M", "640M", "768M", "1G", "1500M"]:
        vm.reach(parse_size(size))
        agree(vm, parse_size(size))
        grown = parse_size(size) - 512 * MIB
        (ram,) = vm.hotplugged()
        assert ram.size == -(-grown // vm.block_size) * vm.block_size
        assert vm.meminfo()["MemTotal"] == before.total + grown
        assert vm.balloon("info/low_kb") == ram.size - grown
    iomem = vm.iomem().text
    for size in ["700M", "1200M", "512M", "1500M"]:
        vm.reach(parse_size(size))
        agree(vm, parse_size(size))
        assert vm.meminfo()["MemTotal"] == before.total + parse_size(size) - 512 * MIB
    assert vm.iomem().text == iomem


@pytest.mark.base(fails="nothing is added", complains=LAZY)
def test_memory_blocks_of_2_gib(boot_dom0: BootDom0, kernel: str) -> None:
    # Such large ones are used if memory ends where one does: at 64 GiB, less what is missing below 2 GiB.
    size = f"{62 * GIB // KIB - 520}K"
    vm = boot_dom0(f"{size},max:{size}", memory="68G", cmdline=ONLINE)
    assert vm.block_size == 2 * GIB, "memory does not end there: see the first lines of the console"
    start = vm.balloon("info/current_kb")
    vm.allow("70G")
    for more in [MIB, 130 * MIB]:
        vm.ask(start + more)
        wait_until(lambda: vm.hotplugged() != [], lambda: "nothing is added", 20 if is_base(kernel) else SECONDS)
        vm.reach(start + more)
        agree(vm, start + more)
        (ram,) = vm.hotplugged()
        assert ram.size == 2 * GIB and ram.start % (2 * GIB) == 0


@pytest.mark.base(fails="Kernel panic")
def test_less_memory_than_the_hypervisor_offers(boot_dom0: BootDom0) -> None:
    """mem= ends before, or in, what could be ballooned in."""
    vm = boot_dom0(dom0="512M,max:4G", cmdline=f"mem=640M {ONLINE}")
    vm.reach(768 * MIB)
    agree(vm, 768 * MIB)


@pytest.mark.base(fails="far too much is added", complains=LAZY)
def test_extra_memory_beyond_the_end_of_memory(boot_dom0: BootDom0, kernel: str) -> None:
    vm = boot_dom0(
        dom0="512M,max:4G",
        kernel=kernel + BALLOONED,
        cmdline=f"mem=640M {ONLINE}",
    )
    vm.reach(768 * MIB)
    agree(vm, 768 * MIB)
    assert sum(ram.size for ram in vm.hotplugged()) <= 256 * MIB, "far too much is added"


@pytest.mark.base("same", complains=LAZY)
def test_memory_for_grants(boot_dom0: BootDom0) -> None:
    """It is added as well, but is not System RAM, and does not count."""
    vm = boot_dom0(cmdline=ONLINE)
    before = vm.meminfo()["MemTotal"]
    vm.keep_grants(1000)
    scratch = vm.iomem().one("Xen scratch")
    assert scratch.size == 128 * MIB
    assert vm.meminfo()["MemTotal"] == before
    agree(vm, 512 * MIB)
    # Memory that is added next goes beside it.
    vm.allow("1G")
    vm.reach(600 * MIB)
    (ram,) = vm.hotplugged()
    assert ram.start > scratch.end or ram.end < scratch.start


@pytest.mark.base("same", complains=LAZY)
def test_memory_for_grants_from_the_balloon(boot_dom0: BootDom0, kernel: str) -> None:
    """Without Xen's unpopulated pages the balloon driver adds it."""
    vm = boot_dom0(kernel=kernel + BALLOONED, cmdline=ONLINE)
    before = vm.meminfo()["MemTotal"]
    vm.sh("echo 1 >/proc/sys/xen/balloon/hotplug_unpopulated")
    vm.keep_grants(1000)
    (ram,) = vm.hotplugged()
    assert ram.size == 128 * MIB
    assert vm.meminfo()["MemTotal"] == before
    agree(vm, 512 * MIB)


@pytest.mark.base("same", complains=LAZY)
def test_what_the_hypervisor_refuses_is_tried_again(boot_dom0: BootDom0) -> None:
    vm = boot_dom0(cmdline=ONLINE)
    vm.allow("640M")
    vm.ask(768 * MIB)
    wait_until(lambda: vm.held() == 640 * MIB, lambda: f"{vm.held()} bytes")
    vm.allow("1G")
    vm.ask(769 * MIB)
    wait_until(lambda: vm.held() == 769 * MIB, lambda: f"{vm.held()} bytes")
    agree(vm, 769 * MIB)


@pytest.mark.base(fails="memory is lost", complains=LAZY)
def test_offline_and_online_again(boot_dom0: BootDom0) -> None:
    """What has page frames keeps them, and does not end up in the balloon."""
    vm = boot_dom0(cmdline=MOVABLE)
    vm.allow("1G")
    vm.reach(768 * MIB)
    (ram,) = vm.hotplugged()
    block, total = vm.block_at(ram.start), vm.meminfo()["MemTotal"]
    # A page can be in use for a moment.
    vm.sh(f"until echo offline >{vm.state_file(block)}; do usleep 100000; done 2>/dev/null")
    assert vm.meminfo()["MemTotal"] == total - vm.block_size
    vm.set_state("online_movable", block)
    assert vm.balloon("info/low_kb") == 0 and vm.meminfo()["MemTotal"] == total, "memory is lost"
    vm.reach(1 * GIB)
    agree(vm, 1 * GIB)
    assert vm.meminfo()["MemTotal"] == total + 256 * MIB
