# SPDX-License-Identifier: GPL-2.0
"""A guest that grew is worth one that booted that large: what is decided by the memory at boot follows."""

import re

import pytest

from conftest import Boot, BootDom0
from vmtest import failures, limits
from vmtest.cmdline import KERNEL, MOVABLE, ONLINE
from vmtest.console import NO_PAGE_TABLE
from vmtest.linux import Linux
from vmtest.qemu import TRACE
from vmtest.units import GIB, MIB, parse_size
from vmtest.vm import VM
from vmtest.wait import wait_until
from vmtest.xen import LAZY

SWIOTLB, TRACKED = "/sys/kernel/debug/swiotlb", "swiotlb=,,,track_hiwater"
DATA, DISK = "data", "/dev/sda"
# More memory is noted a tenth of a second later.
NOTED = "sleep 2"
FREE_KIB = 40 << 10  # of the memory that a disk reaches


@pytest.mark.architectures("x86_64", "arm64")  # QEMU emulates no s390x that has huge pages
@pytest.mark.base(fails="huge pages are not as")
def test_huge_pages_come_with_the_memory(boot: Boot) -> None:
    born = limits.thp(boot(memory="1G"))
    vm = boot(vmem=["1G"], memory="256M", cmdline=MOVABLE)
    small = limits.thp(vm)
    assert small["enabled"] == "never" and small["use_zero_page"] == "0"
    vm.vmem[0].resize("128M")
    vm.sh(NOTED)
    assert limits.thp(vm) == small
    vm.vmem[0].resize("512M")
    vm.sh(NOTED)
    assert limits.thp(vm) == born, "huge pages are not as in a guest that booted with as much"
    vm.sh("grep -qx khugepaged /proc/[0-9]*/comm")
    # What a process may rely on is not taken back.
    vm.vmem[0].resize("0")
    assert limits.thp(vm) == born


@pytest.mark.long
@pytest.mark.base(fails="no huge pages", complains=LAZY)
def test_huge_pages_come_when_a_xen_domain_grows_once(boot_dom0: BootDom0) -> None:
    """Its pages come after its memory blocks have gone online."""
    vm = boot_dom0(cmdline=ONLINE)
    assert limits.thp(vm)["enabled"] == "never"
    vm.allow("2G")
    vm.reach(parse_size("1500M"))
    vm.sh(NOTED)
    assert limits.thp(vm)["enabled"] == "madvise", "no huge pages"


@pytest.mark.base(fails="threads-max")
def test_limits_on_kernel_data_follow_its_memory(boot: Boot) -> None:
    born = limits.following(boot(memory="4G"))
    vm = boot(vmem=["4G"], memory="256M", cmdline=KERNEL)
    vm.vmem[0].resize("3840M")
    vm.sh(NOTED)
    grown = limits.following(vm)
    short = {name: (grown[name], born[name]) for name in born if grown[name] < 0.9 * born[name]}
    assert not short, f"below those of a guest that booted with as much: {short}"
    # All but what the kernel has in it by now.
    vm.vmem[0].request("0")
    wait_until(lambda: vm.vmem[0].plugged() < GIB, lambda: f"still plugged: {vm.vmem[0].plugged()}")
    vm.sh(NOTED)
    assert limits.following(vm) == grown


@pytest.mark.base("same")
def test_memory_that_the_kernel_cannot_use_raises_no_limit_on_its_data(boot: Boot) -> None:
    vm = boot(vmem=["4G"], memory="256M", cmdline=MOVABLE)
    before = limits.following(vm)
    vm.vmem[0].resize("4G")
    vm.sh(NOTED)
    # What was freed since they were computed, as the initramfs, counts.
    assert all(value <= 1.1 * before[name] for name, value in limits.following(vm).items())


@pytest.mark.architectures("x86_64", "arm64")  # the same
@pytest.mark.base("same")
def test_what_somebody_wrote_stays(boot: Boot) -> None:
    vm = boot(vmem=["4G"], memory="256M", cmdline=KERNEL)
    before = limits.following(vm)
    # Who writes what is there wants that.
    for path in limits.FOLLOWING.values():
        vm.sh(f"cat {path} >value && cat value >{path}")
    for control in ("enabled", "defrag"):
        vm.sh(f"echo never >{limits.THP}/{control}")
    vm.sh(f"echo 0 >{limits.THP}/use_zero_page; echo 0 >{limits.THP}/khugepaged/defrag")
    small = limits.thp(vm)
    vm.vmem[0].resize("4G")
    vm.sh(NOTED)
    assert limits.following(vm) == before
    assert limits.thp(vm) == small


@pytest.mark.base("same")
def test_a_file_system_in_memory_is_measured_again_when_it_is_remounted(boot: Boot) -> None:
    """As Documentation/admin-guide/mm/memory-hotplug.rst says it."""
    vm = boot(vmem=["2G"], memory="256M", cmdline=MOVABLE)
    vm.sh("mkdir tmp && mount -t tmpfs tmpfs tmp")
    before = limits.tmpfs_size(vm, "tmp")
    vm.vmem[0].resize("2G")
    assert limits.tmpfs_size(vm, "tmp") == before
    vm.sh("mount -o remount,size=50% tmp")
    # The default is rounded down, and a share up, to pages.
    assert limits.tmpfs_size(vm, "tmp") - before - (1 << 20) in (0, 4)


@pytest.mark.architectures("x86_64")
@pytest.mark.base("compared")
def test_bounce_buffers_leave_a_small_guest_its_memory(boot: Boot) -> None:
    base, patched = (boot(memory="256M", kernel=kernel).meminfo()["MemTotal"] for kernel in ("base", "patched"))
    assert patched - base >= 56 * MIB


def low_memory_free(vm: Linux) -> int:
    """In KiB, of what a disk reaches."""
    return vm.boot_memory_free() >> 10


@pytest.mark.architectures("x86_64")
@pytest.mark.base("same")
@pytest.mark.parametrize("little", [False, pytest.param(True, marks=pytest.mark.long)], ids=["room", "little_room"])
def test_a_disk_that_reaches_little_reads_and_writes_memory_above_it(boot: Boot, little: bool) -> None:
    vm = boot(vmem=["3G"], memory="256M", cmdline=f"{MOVABLE} {TRACKED}", low_disk="512M")
    vm.vmem[0].resize("3G")
    vm.sh(f"mount -o remount,size=2G /run; dd if=/dev/urandom of={DATA} bs=1M count=128 2>/dev/null")
    if little:
        fill_low_memory(vm)
    # Not reached: what is written or read is copied. Past a disk's page cache, which is not in ZONE_MOVABLE.
    vm.sh(f"dd if={DATA} of={DISK} bs=1M oflag=direct 2>/dev/null", seconds=120)
    vm.sh(f"dd if={DISK} bs=1M count=128 iflag=direct 2>/dev/null | cmp - {DATA}", seconds=120)
    assert int(vm.sh(f"cat {SWIOTLB}/io_tlb_used_hiwater")) > 0
    assert "swiotlb buffer is full" not in vm.sh("dmesg")


def fill_low_memory(vm: Linux) -> None:
    """With directories, which are kernel data."""
    vm.sh("mkdir full && mount -t tmpfs -o nr_inodes=0 tmpfs full")
    count = 0
    while low_memory_free(vm) > FREE_KIB:
        vm.sh(f"cd full && seq {count} {count + 3999} | xargs mkdir")
        count += 4000


def shrink_around_a_pinned_page(vm: VM) -> None:
    """To nothing, of which little is left."""
    vm.vmem[0].resize("1G")
    vm.sh("pin >pinned & echo $! >pid; until grep -q pinned pinned; do sleep 0.1; done")
    vm.vmem[0].request("0")
    wait_until(lambda: vm.vmem[0].plugged() < GIB // 2, lambda: f"still plugged: {vm.vmem[0].plugged()}")
    vm.driver.settle()
    assert 0 < vm.vmem[0].plugged() <= 128 * MIB


@pytest.mark.base(fails="after 30 s")
def test_memory_goes_soon_after_it_is_not_in_use_any_more(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline=MOVABLE)
    shrink_around_a_pinned_page(vm)
    vm.sh("kill $(cat pid)")
    # Not asked once more.
    wait_until(lambda: vm.vmem[0].plugged() == 0, lambda: f"still plugged: {vm.vmem[0].plugged()}", seconds=30)


@pytest.mark.base(fails="nothing says")
def test_the_log_says_where_memory_is_in_use(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline=MOVABLE)
    shrink_around_a_pinned_page(vm)
    (ram,) = vm.iomem().under(vm.vmem[0].owner)
    said = re.findall(r"0x(\w+) bytes cannot be unplugged yet.* in \[0x(\w+)-0x(\w+)\]", vm.sh("sleep 4; dmesg"))
    assert len(said) == 1, "nothing says, or too much, what is in the way"
    left, start, end = (int(number, 16) for number in said[0])
    assert left == vm.vmem[0].plugged()
    assert ram.start <= start < end <= ram.end


@pytest.mark.architectures("x86_64")
@pytest.mark.base(fails="QEMU closed the guest channel", complains=NO_PAGE_TABLE)
def test_a_dimm_that_found_no_memory_is_taken_out_and_added_again(boot: Boot) -> None:
    """As Documentation/admin-guide/mm/memory-hotplug.rst says it."""
    vm = boot(dimms=True, cmdline=MOVABLE)
    before = vm.snapshot()
    with failures.failing_allocation(vm, "fail_page_alloc", 1, below="__add_memory"):
        vm.sh(f"echo -1 >{failures.DEBUG}/fail_page_alloc/times")
        vm.dimms.plug("dimm0", "512M")
        wait_until(lambda: "add_memory failed" in vm.sh("dmesg"), lambda: f"nothing fails:\n{vm.last_words()}")
    assert vm.snapshot() == before
    vm.dimms.request_removal("dimm0")
    vm.dimms.wait_gone("dimm0")
    vm.dimms.add("dimm0", "512M")


def discarded(vm: VM) -> int:
    """How much of the virtio-mem device's memory QEMU has given back to the host, in bytes."""
    lines = (vm.directory / TRACE).read_text().splitlines()
    found = (re.search(r"ram_block_discard_range \S*mem0@.* \+ (\w+):", line) for line in lines)
    return sum(int(match[1], 16) for match in found if match)


@pytest.mark.base(fails="were reported")
def test_memory_that_nobody_has_used_is_not_reported(boot: Boot) -> None:
    vm = boot(vmem=["2G"], cmdline=MOVABLE, reporting=True)
    before = discarded(vm)
    vm.vmem[0].resize("2G")
    vm.sh("sleep 8")  # reports follow within 2 s
    # What programs use and free meanwhile is little.
    assert discarded(vm) - before < 64 * MIB, f"{discarded(vm) - before} bytes were reported"
    vm.sh("mount -o remount,size=2G /run; dd if=/dev/zero of=data bs=1M count=1024 2>/dev/null; rm data")
    wait_until(lambda: discarded(vm) - before > GIB // 2, lambda: f"only {discarded(vm) - before} bytes are reported")


@pytest.mark.base("same")
def test_memory_that_was_cleared_is_reported(boot: Boot) -> None:
    """With init_on_free=1 the kernel has written all of it, and the host has to have it."""
    vm = boot(vmem=["2G"], cmdline=f"{MOVABLE} init_on_free=1", reporting=True)
    before = discarded(vm)
    vm.vmem[0].resize("2G")
    wait_until(lambda: discarded(vm) - before > GIB, lambda: f"only {discarded(vm) - before} bytes are reported")


@pytest.mark.base("same")
def test_memory_that_is_being_reported_goes_at_once(boot: Boot) -> None:
    vm = boot(vmem=["2G"], cmdline=MOVABLE, reporting=True)
    vm.vmem[0].resize("2G")
    vm.sh("mount -o remount,size=2G /run; dd if=/dev/zero of=data bs=1M count=1536 2>/dev/null; rm data")
    vm.vmem[0].resize("0", seconds=40)
