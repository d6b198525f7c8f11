# SPDX-License-Identifier: GPL-2.0
"""Whatever fails while memory is plugged and unplugged: nothing is lost, and the next try succeeds."""

import errno
import random

import pytest

from conftest import Boot
from vmtest import failures, initramfs
from vmtest.cmdline import FORCED, MOVABLE
from vmtest.console import NO_PAGE_TABLE, Complaint
from vmtest.flavours import architecture
from vmtest.units import MIB
from vmtest.vm import VM
from vmtest.vmem import BBM, BBM_LARGE, SBM
from vmtest.wait import wait_until

CMDLINE = f"{FORCED} {MOVABLE}"


def start(boot: Boot, mode: str = SBM, cmdline: str = CMDLINE) -> VM:
    vm = boot(vmem=["2G"], cmdline=cmdline)
    vm.driver.reload(mode)
    return vm


def wait_plugged(vm: VM, size: int) -> None:
    wait_until(lambda: vm.vmem[0].plugged() == size, lambda: f"plugged: {vm.vmem[0].plugged()}, not {size}")
    vm.driver.settle()


@pytest.mark.base("same")
@pytest.mark.parametrize("priority", [0, 1])  # asked behind virtio-mem, and before it
@pytest.mark.parametrize("mode", [SBM, BBM])
def test_onlining_is_vetoed(boot: Boot, mode: str, priority: int) -> None:
    vm = start(boot, mode)
    failures.load_injectors(vm, priority)
    before = vm.snapshot()
    with failures.vetoed(vm, "MEM_GOING_ONLINE", errno.ENOMEM):
        vm.vmem[0].resize("512M")
        added = sorted(set(vm.memory_blocks()) - set(before.blocks))
        assert len(added) == 4
        assert all(vm.memory_blocks()[block] == "offline" for block in added)
        vm.vmem[0].resize("0")
        assert vm.snapshot() == before
        vm.vmem[0].resize("512M")
    vm.set_state("online_movable", *added[:2])
    assert vm.meminfo()["MemTotal"] == before.total + 256 * MIB - 2 * vm.driver.memmap_size()
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before


@pytest.mark.base("same")
@pytest.mark.parametrize("priority", [0, 1])
@pytest.mark.parametrize("mode", [SBM, BBM])
def test_offlining_is_vetoed(boot: Boot, mode: str, priority: int) -> None:
    vm = start(boot, mode)
    failures.load_injectors(vm, priority)
    before = vm.snapshot()
    vm.vmem[0].resize("512M")
    grown = vm.snapshot()
    with failures.vetoed(vm, "MEM_GOING_OFFLINE", errno.EBUSY):
        vm.vmem[0].request("0")
        if mode == BBM:
            wait_until(lambda: "Injecting error" in vm.console(), lambda: "nobody is asked")
            vm.vmem[0].resize("512M")
            assert vm.snapshot() == grown
            vm.vmem[0].request("0")
        else:
            # All went but the memory maps, which can only go with their memory blocks.
            wait_plugged(vm, 4 * vm.driver.memmap_size())
            assert vm.meminfo()["MemTotal"] == before.total
            assert vm.iomem().text == grown.iomem
    failures.poke(vm.vmem[0], "0")
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before


@pytest.mark.base("same")
@pytest.mark.parametrize("mode", [SBM, BBM])
def test_the_device_refuses(boot: Boot, mode: str) -> None:
    vm = start(boot, mode)
    before = vm.snapshot()
    with failures.refusing(vm):
        vm.vmem[0].request("512M")
        wait_until(lambda: "requested size: 0x20000000" in vm.console(), lambda: "not asked")
        vm.driver.settle()
        assert vm.snapshot() == before
    failures.poke(vm.vmem[0], "512M")
    vm.vmem[0].resize("512M")
    grown = vm.snapshot()
    with failures.refusing(vm):
        asked = vm.console().count(nothing := "requested size: 0x0")
        vm.vmem[0].request("0")
        wait_until(lambda: vm.console().count(nothing) > asked, lambda: "not asked")
        vm.driver.settle()
        assert vm.vmem[0].plugged() == 512 * MIB
        # The guest may have let go of the memory block that it asked about.
        gone = set(grown.blocks) - set(vm.memory_blocks())
        assert len(gone) <= 1
        assert vm.meminfo()["MemTotal"] == grown.total - len(gone) * (vm.block_size - vm.driver.memmap_size())
    # If the device has it back in the end, it is unplugged and plugged again.
    failures.poke(vm.vmem[0], "512M")
    vm.vmem[0].resize("512M")
    assert vm.snapshot() == grown
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before


@pytest.mark.base("same")
def test_the_device_refuses_to_take_back_what_held_a_memory_map(boot: Boot) -> None:
    vm = start(boot)
    failures.load_injectors(vm)
    before = vm.snapshot()
    vm.vmem[0].resize("512M")
    maps = 4 * vm.driver.memmap_size()
    with failures.vetoed(vm, "MEM_GOING_OFFLINE", errno.EBUSY):
        vm.vmem[0].request("0")
        wait_plugged(vm, maps)
    # Nothing is left to do but to remove memory blocks, and then to unplug what held their map.
    with failures.refusing(vm):
        failures.poke(vm.vmem[0], "0")
        wait_until(lambda: vm.driver.added() < 512 * MIB, lambda: "no block goes")
        vm.driver.settle()
        assert vm.vmem[0].plugged() == maps
        # One block was removed and is still plugged; the others were not begun.
        assert vm.driver.added() == 384 * MIB * (maps > 0)
    vm.vmem[0].request("256M")  # what is left behind goes first, then memory grows
    wait_plugged(vm, 256 * MIB)
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before


def resize_with_failing_allocation(
    vm: VM, size: int, kind: str, after: int, below: str = ""
) -> bool:
    """Whether the allocation came to fail. Ends with `size` plugged, in either case."""

    def broken() -> bool:
        return "marking device broken" in vm.console()

    def listed() -> bool:
        return vm.vmem[0].plugged() == size == vm.driver.added()

    def reached() -> bool:
        # Memory that is being added is listed before that can fail.
        if not listed():
            return False
        vm.driver.settle()
        return listed()

    with failures.failing_allocation(vm, kind, after, below):
        vm.vmem[0].request(str(size))
        wait_until(
            lambda: failures.failed(vm, kind) or reached() or broken(),
            lambda: f"allocation {after} did not fail, and {vm.vmem[0].plugged()} bytes are plugged",
        )
        vm.driver.settle()
        failed = failures.failed(vm, kind)
    failures.poke(vm.vmem[0], str(size))
    wait_until(lambda: reached() or broken(), lambda: f"{vm.vmem[0].plugged()} are plugged")
    assert not broken(), "the driver gives the device up"
    vm.vmem[0].resize(str(size))
    return failed


def fail_allocations(vm: VM, kind: str) -> None:
    before = vm.snapshot()
    vm.vmem[0].resize("256M")
    grown = vm.snapshot()
    vm.vmem[0].resize("0")
    hits = 0
    for after in [1, 2, 3, 5, 8, 12, 17, 23, 30, 40, 55, 75]:
        hits += resize_with_failing_allocation(vm, 256 * MIB, kind, after)
        # A memory block that could not be onlined is offline now; all else is as ever.
        for block in set(vm.memory_blocks()) - set(before.blocks):
            vm.try_state("online_movable", block)
        assert vm.snapshot() == grown, f"after allocation {after}"
        hits += resize_with_failing_allocation(vm, 0, kind, after)
        assert vm.snapshot() == before, f"after allocation {after}"
    assert hits >= 6


@pytest.mark.base(fails="the driver gives the device up")
@pytest.mark.parametrize("mode", [SBM, BBM, BBM_LARGE])
def test_an_object_cannot_be_allocated(boot: Boot, mode: str) -> None:
    fail_allocations(start(boot, mode), "failslab")


@pytest.mark.base(fails="the driver gives the device up")
def test_an_object_cannot_be_allocated_nor_maps_be_hosted(boot: Boot) -> None:
    vm = start(boot, BBM_LARGE, cmdline=MOVABLE)
    fail_allocations(vm, "failslab")


TAKEN_FOR_A_MISTAKE = Complaint(
    "WARNING: .* at add_pages", "takes that for a mistake", "the base has 06-page-tables/0003"
)


@pytest.mark.base(fails="the driver gives the device up", may_complain=TAKEN_FOR_A_MISTAKE)  # it does on x86
def test_the_second_section_of_what_is_added_cannot_be_allocated(boot: Boot) -> None:
    vm = start(boot, BBM_LARGE, cmdline=MOVABLE)
    before = vm.snapshot()
    assert resize_with_failing_allocation(vm, 256 * MIB, "failslab", 2, below="__add_pages")
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before


@pytest.mark.architectures("x86_64")  # which left the mapping
@pytest.mark.base(fails="are still mapped", complains=TAKEN_FOR_A_MISTAKE)
def test_memory_that_cannot_be_added_is_not_mapped(boot: Boot) -> None:
    """There is no memory for its memory map, at no try."""
    vm = start(boot, cmdline=MOVABLE)
    before, mapped = vm.snapshot(), vm.direct_map()
    with failures.failing_allocation(vm, "fail_page_alloc", 1, below="__add_pages"):
        vm.sh(f"echo -1 >{failures.DEBUG}/fail_page_alloc/times")
        vm.vmem[0].request("128M")
        wait_until(lambda: "adding memory failed" in vm.console(), lambda: "nothing is added")
        # The driver tries again now and then.
        wait_until(lambda: vm.direct_map() == mapped, lambda: f"{vm.direct_map() - mapped} bytes are still mapped", 10)
        wait_until(lambda: vm.snapshot() == before, lambda: f"something else is left: {vm.iomem().text}", 10)
    failures.poke(vm.vmem[0], "128M")
    vm.vmem[0].resize("128M")
    assert vm.direct_map() == mapped + 128 * MIB
    vm.vmem[0].resize("0")
    assert (vm.snapshot(), vm.direct_map()) == (before, mapped)


@pytest.mark.base("absent")  # the base oopses if it is a page table, see below
@pytest.mark.parametrize("mode", [SBM, BBM, BBM_LARGE])
def test_a_page_cannot_be_allocated(boot: Boot, mode: str) -> None:
    fail_allocations(start(boot, mode), "fail_page_alloc")


@pytest.mark.architectures("x86_64")  # by its functions
@pytest.mark.base(
    fails="QEMU closed the guest channel",
    complains=NO_PAGE_TABLE,
)
@pytest.mark.parametrize("cmdline", [CMDLINE, MOVABLE])
@pytest.mark.parametrize("mode", [SBM, BBM])
def test_a_page_table_of_the_direct_map_cannot_be_allocated(boot: Boot, mode: str, cmdline: str) -> None:
    vm = boot(vmem=["4G"], cmdline=cmdline)
    vm.driver.reload(mode)
    before = vm.snapshot()
    vm.vmem[0].resize("4G")
    grown = vm.snapshot()
    vm.vmem[0].resize("0")
    for after in [1, 2, 3]:
        assert resize_with_failing_allocation(vm, 4096 * MIB, "fail_page_alloc", after, "init_memory_mapping")
        assert vm.snapshot() == grown, f"after allocation {after}"
        vm.vmem[0].resize("0")
        assert vm.snapshot() == before, f"after allocation {after}"


@pytest.mark.long
@pytest.mark.base("absent")
@pytest.mark.parametrize("kind", failures.ALLOCATIONS)
@pytest.mark.parametrize("cmdline", [CMDLINE, MOVABLE])
@pytest.mark.parametrize("mode", [SBM, BBM])
def test_each_allocation_fails_once(boot: Boot, mode: str, cmdline: str, kind: str) -> None:
    """Of all that it takes to add a memory block and to bring it online, beginning with its page table."""
    vm = start(boot, mode, cmdline)
    before = vm.snapshot()
    vm.vmem[0].resize("128M")
    grown = vm.snapshot()
    vm.vmem[0].resize("0")
    after = missed = 0
    while missed < 3:
        after += 1
        missed = 0 if resize_with_failing_allocation(vm, 128 * MIB, kind, after) else missed + 1
        # A memory block that could not be onlined is offline now; all else is as ever.
        for block in set(vm.memory_blocks()) - set(before.blocks):
            vm.try_state("online_movable", block)
        assert vm.snapshot() == grown, f"after allocation {after}"
        vm.vmem[0].resize("0")
        assert vm.snapshot() == before, f"after allocation {after}"
    assert after > 10


@pytest.mark.base("same")
@pytest.mark.parametrize("mode", [SBM, BBM])
def test_the_device_changes_its_mind_all_the_time(boot: Boot, mode: str) -> None:
    vm = start(boot, mode)
    before = vm.snapshot()
    chosen = random.Random(3)
    for _ in range(60):
        vm.vmem[0].request(f"{chosen.randrange(0, 2048, 4)}M")
        vm.sh(f"usleep {chosen.randrange(150000)}")
    vm.vmem[0].resize("1G")
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before


@pytest.mark.base("same")
@pytest.mark.parametrize("moment", [0, 50, 120, 200, 300])
def test_the_driver_is_unloaded_in_the_middle(boot: Boot, moment: int) -> None:
    vm = start(boot)
    for size in ["2G", "0"]:
        vm.vmem[0].request(size)
        vm.sh(f"usleep {moment * 1000}; rmmod virtio_mem", seconds=120)
        vm.driver.settle()
        left = vm.driver.added()
        vm.driver.load()
        if left:
            # As ever: memory that is in use stays, and no driver takes over.
            log = vm.sh("dmesg")
            assert "device still has system memory added" in log
            assert "reloading the driver is not supported" in log
            assert sum(ram.size for ram in vm.iomem().system_ram("virtio_mem")) == left
            return
        vm.vmem[0].resize(size)


@pytest.mark.base("same")
@pytest.mark.parametrize("mode", [SBM, BBM])
def test_another_kernel_finds_memory_plugged(boot: Boot, mode: str) -> None:
    """kexec: the next kernel's driver resets the device and starts from nothing."""
    vm = start(boot, mode)
    vm.vmem[0].resize("1G")
    vm.sh(
        f"kexec -s -l {initramfs.CRASH_KERNEL} --initrd={initramfs.CAPTURE_IMAGE}"
        f" --append='{architecture(vm.machine.kernel).cmdline} {CMDLINE}'"
    )
    vm.restart("kexec -e -x")
    empty = vm.snapshot()
    vm.vmem[0].request("0")
    vm.driver.load(mode)
    wait_plugged(vm, 0)
    vm.vmem[0].resize("1G")
    assert vm.meminfo()["MemTotal"] == empty.total + 1024 * MIB - 8 * vm.driver.memmap_size()
    vm.vmem[0].resize("0")
    assert vm.snapshot().total == empty.total
