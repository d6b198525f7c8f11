# SPDX-License-Identifier: GPL-2.0
"""The header that a crash kernel is given lists the System RAM of /proc/iomem, whatever was plugged,
unplugged, taken online or offline, or failed to be."""

import errno
import time
from itertools import cycle
from typing import Callable

import pytest

from conftest import Boot
from vmtest import canary, dump, failures, kmem, module
from vmtest.cmdline import CRASHKERNEL, FORCED, MOVABLE
from vmtest.console import CRASHED, crashed_by
from vmtest.errors import Failure
from vmtest.initramfs import KEXEC_HOTPLUG
from vmtest.units import GIB, MIB, PAGE, format_size, parse_size
from vmtest.vm import VM
from vmtest.vmem import BBM, SBM
from vmtest.wait import SECONDS, wait_until

# Others do not update the header, or do so elsewhere: CONFIG_CRASH_HOTPLUG.
pytestmark = pytest.mark.architectures("x86_64")

CMDLINE = f"{CRASHKERNEL} {MOVABLE}"
CMDLINE_HOSTED = f"{CMDLINE} {FORCED}"
BLOCK = 128 * MIB


def check(vm: VM, what: str) -> None:
    """Between what the kernel has told the crash kernel, and what is there."""
    listed, there = dump.listed(vm.crash.header()), dump.expected(vm.iomem())
    assert listed == there, f"{what}: the header is wrong"


def check_soon(vm: VM, what: str) -> None:
    """The same, where the kernel makes up for what it could not do at once."""

    def right() -> bool:
        return dump.listed(vm.crash.header()) == dump.expected(vm.iomem())

    wait_until(right, lambda: f"{what}: the header is wrong", 30)


@pytest.mark.base(fails="added, offline: the header is wrong")
def test_a_dimm_comes_and_goes(boot: Boot) -> None:
    vm = boot(cmdline=CRASHKERNEL)
    vm.crash.load()
    check(vm, "loaded")
    vm.dimms.add("dimm0", "256M")
    check(vm, "added, offline")
    first = vm.block_at(vm.dimms.start("dimm0"))
    vm.set_state("online_movable", first, first + 1)
    check(vm, "online")
    vm.set_state("offline", first)
    check(vm, "half of it offline")
    vm.dimms.remove("dimm0")
    check(vm, "removed")


@pytest.mark.base(fails="removed: the header is wrong")
def test_a_dimm_is_removed(boot: Boot) -> None:
    vm = boot(cmdline=CMDLINE)
    vm.crash.load()
    vm.dimms.add("dimm0", "256M")
    check(vm, "added")
    vm.dimms.remove("dimm0")
    check(vm, "removed")


@pytest.mark.base(fails="512M: the header is wrong")
@pytest.mark.parametrize("mode", [SBM, BBM])
@pytest.mark.parametrize("cmdline", [CMDLINE, CMDLINE_HOSTED])
def test_virtio_mem_grows_and_shrinks(boot: Boot, cmdline: str, mode: str) -> None:
    vm = boot(vmem=["2G"], cmdline=cmdline)
    vm.driver.reload(mode)
    vm.crash.load()
    for size in ["1G", "2G", "512M", "1G", "0"]:
        vm.vmem[0].resize(size)
        check(vm, size)


@pytest.mark.base(fails="every second: the header is wrong")
def test_every_second_block_is_unplugged(boot: Boot) -> None:
    vm = boot(vmem=["2G"], cmdline=CMDLINE)
    vm.crash.load()
    vm.vmem[0].resize("2G")
    first = vm.block_at(vm.iomem().one("virtio0").start)
    vm.set_state("offline", *range(first, first + 16, 2))
    vm.vmem[0].resize("1G")
    check(vm, "every second")
    vm.vmem[0].resize("2G")
    check(vm, "all")


@pytest.mark.base(fails="taken back: the header is wrong")
def test_dax_kmem_hands_over_and_takes_back(boot: Boot) -> None:
    vm = boot(memory="4G", cmdline=f"{CMDLINE} {kmem.PERSISTENT}")
    vm.crash.load()
    vm.sh(kmem.MAKE_DAX_DEVICE)
    kmem.hand_over(vm)
    check(vm, "handed over")
    kmem.take_offline(vm)
    kmem.take_back(vm)
    assert not vm.iomem().system_ram("kmem")
    check(vm, "taken back")


def above_low_memory(vm: VM) -> dump.Ranges:
    """What the header lists, but for the first MiB: kexec lists that, and copies it elsewhere."""
    return dump.without(dump.listed(vm.crash.header()), 0, MIB - 1)


@pytest.mark.base("same")
def test_kexec_reads_iomem(boot: Boot) -> None:
    """`kexec -c`: what loads the crash kernel anew after each change, as udev's rules do."""
    vm = boot(vmem=["2G"], cmdline=CMDLINE)
    for size in ["1G", "2G", "640M", "0"]:
        vm.vmem[0].resize(size)
        vm.sh(vm.crash.loader("kexec -c"))
        assert above_low_memory(vm) == dump.expected(vm.iomem()), size


@pytest.mark.base(fails="512M: the header is wrong")
def test_kexec_lets_the_kernel_update_its_header(boot: Boot) -> None:
    """`kexec -c --hotplug`."""
    vm = boot(vmem=["2G"], cmdline=CMDLINE)
    vm.sh(vm.crash.loader(f"LD_PRELOAD={KEXEC_HOTPLUG} kexec -c"))
    assert above_low_memory(vm) == dump.expected(vm.iomem())
    for size in ["1G", "2G", "512M"]:
        vm.vmem[0].resize(size)
        check(vm, size)


@pytest.mark.base("same")
def test_what_fails_changes_nothing(boot: Boot) -> None:
    vm = boot(cmdline=CMDLINE)
    failures.load_injectors(vm)
    vm.crash.load()
    vm.dimms.add("dimm0", "256M")
    before = vm.crash.header()
    with failures.vetoed(vm, "MEM_GOING_OFFLINE", errno.EBUSY):
        assert vm.try_state("offline", vm.block_at(vm.dimms.start("dimm0"))).status
    assert vm.crash.header() == before
    check(vm, "vetoed")


@pytest.mark.base("absent")
def test_crash_kernels_come_and_go_while_memory_does(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline=CMDLINE)
    again = f"while [ ! -e stop ]; do {vm.crash.loader()} && echo yes >loaded; kexec -s -p -u; done"
    for turn in range(4):
        vm.sh(f"rm -f stop stopped loaded; {{ {again}; touch stopped; }} >/dev/null 2>&1 &")
        for size in ["1G", "128M", "640M", "256M"]:
            vm.vmem[0].resize(size)
        # The next one that is loaded stays, and memory changes once more at the same time.
        vm.sh("touch stop; until [ -e stopped ]; do usleep 10000; done")
        vm.vmem[0].request(["1G", "0"][turn % 2])
        # Which is not refused while hotplug updates the one before.
        vm.crash.load()
        vm.vmem[0].resize(["1G", "0"][turn % 2])
        assert vm.sh("[ ! -e loaded ] || cat loaded"), f"turn {turn}: no crash kernel was loaded"
        check_soon(vm, f"turn {turn}")


@pytest.mark.base(fails="while one is loaded: the header is wrong")
def test_memory_is_plugged_while_a_crash_kernel_is_loaded(boot: Boot) -> None:
    """Which hotplug cannot update, and which may have its header already. Nothing else is wrong on the base."""
    vm = boot(vmem=["1G"], cmdline=CMDLINE)
    began = time.monotonic()
    vm.crash.load()
    takes = time.monotonic() - began
    vm.sh("kexec -s -p -u")
    # Most of it is spent on digests, when there is a header already.
    for turn in range(1, 10):
        wait = int(takes * turn * 100000)
        vm.sh(f"rm -f loaded; {{ {vm.crash.loader()} && touch loaded; }} >/dev/null 2>&1 & usleep {wait}")
        vm.vmem[0].resize("128M")
        vm.sh("until [ -e loaded ]; do usleep 10000; done")
        check_soon(vm, f"{wait // 1000} ms, while one is loaded")
        vm.sh("kexec -s -p -u")
        vm.vmem[0].resize("0")


def go_wrong(vm: VM, how: str) -> None:
    """The next update of the header: guest/crasher says how."""
    module.load(vm, "guest/crasher", f"how={how}")


@pytest.mark.base(fails="without memory for it: the header is wrong")
def test_an_update_that_finds_no_memory_is_tried_again(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline=CMDLINE)
    vm.crash.load()
    go_wrong(vm, "failing")
    vm.vmem[0].resize("128M")
    check_soon(vm, "without memory for it")


@pytest.mark.base(fails="the dump is missing")
@pytest.mark.complains(crashed_by("crasher"))
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_crash_while_the_header_is_copied(boot: Boot, where: str) -> None:
    vm = boot(vmem=["1G"], cmdline=CMDLINE)
    vm.crash.load()
    device = vm.iomem().one("virtio0")
    there = dump.expected(vm.iomem()) + [(device.start, device.start + BLOCK - 1)]
    go_wrong(vm, where)
    vm.vmem[0].request("128M")
    wait_for_dump(vm)
    assert dump.listed(vm.vmcore.loads()) == there, "not what was being written"


def unplug_dimm(vm: VM) -> None:
    vm.dimms.add("dimm0", "256M")
    vm.dimms.add("dimm1", "256M")
    vm.dimms.remove("dimm0")


def shrink(vm: VM) -> None:
    vm.vmem[0].resize("2G")
    vm.vmem[0].resize("900M")  # what is left of the last block is 4 MiB


def checkerboard(vm: VM) -> None:
    vm.vmem[0].resize("2G")
    first = vm.block_at(vm.iomem().one("virtio0").start)
    vm.set_state("offline", *range(first + 1, first + 16, 2))
    vm.vmem[0].resize("1G")


@pytest.mark.base(fails="what is not there is in the dump")
@pytest.mark.complains(CRASHED)
@pytest.mark.parametrize("cmdline", [CMDLINE, CMDLINE_HOSTED])
@pytest.mark.parametrize("change", [unplug_dimm, shrink, checkerboard])
def test_a_dump_holds_what_is_plugged(
    boot: Boot, change: Callable[[VM], None], cmdline: str
) -> None:
    vm = boot(vmem=["2G"], cmdline=cmdline)
    vm.crash.load()
    change(vm)
    pages = [address for address in canary.fill(vm, 128) if address >= 4 * GIB]
    assert len(pages) > 64 * MIB // PAGE  # most are in memory that was plugged
    there = dump.expected(vm.iomem())
    vm.crash.now()

    vm.driver.load()
    assert dump.listed(vm.vmcore.loads()) == there, "what is not there is in the dump"
    # Some from all over, and the first and last of each piece.
    check_canaries(vm, sorted({*pages[:: len(pages) // 200], *dump.borders(pages)}))


def check_canaries(vm: VM, addresses: list[int]) -> None:
    """In the capture kernel: whether these pages are in the dump as they were written."""
    found = vm.vmcore.read(addresses)
    for address in addresses:
        page, found = found[:PAGE], found[PAGE:]
        assert canary.alive(page, address), f"{address:x}"


@pytest.mark.base(fails="the dump is missing")
@pytest.mark.complains(CRASHED)
def test_crashes_while_memory_is_plugged(boot: Boot) -> None:
    """At some moments, since the base has a crash kernel to start at few, but at some."""
    sizes = ["1G", "2G", "3G", "4G", "5G", "6G", "7G", "8G", "9G", "10G"]
    for one_cpu, size in zip(cycle([True, False]), sizes):
        crash_between(boot, CMDLINE_HOSTED, "256M", "12G", parse_size(size), one_cpu, BLOCK)


@pytest.mark.base(fails="the dump ")
@pytest.mark.complains(CRASHED)
def test_crashes_while_memory_is_unplugged(boot: Boot) -> None:
    """The same; where the base has a crash kernel to start, the dump has a block too much.

    Blocks that are free are removed together, up to 2 GiB of them, before the device hears of the first."""
    for one_cpu, size in zip(cycle([True, False]), ["11G", "10G", "8G", "7G", "5G"]):
        crash_between(boot, CMDLINE, "12G", "256M", parse_size(size), one_cpu, 2 * GIB)


def crash_between(boot: Boot, cmdline: str, before: str, after: str, at: int, one_cpu: bool, apart: int) -> None:
    """Crashes a guest on its way from one size to another, with nothing in what comes and goes."""
    for _ in range(8):
        vm = boot(vmem=["12G"], cmdline=cmdline, one_cpu=one_cpu)
        vm.crash.load()
        vm.vmem[0].resize("256M")
        device = vm.iomem().one("virtio0")
        pages = canary.fill(vm, 64)
        vm.vmem[0].resize(before)
        vm.crash.arm()
        plugged = [crash_at(vm, after, at), vm.vmem[0].plugged()]
        if plugged[-1] != parse_size(after):
            break
        # A block takes two milliseconds, and the machine may have had other things to do: sooner, then.
        vm.close()
        at = (at + parse_size(before)) // 2 // MIB * MIB
    else:
        raise Failure(f"eight crashes came too late, the last at {format_size(at)}")

    # A CPU that crashes does nothing else. Another one goes on, but not with the header, until it is stopped.
    if one_cpu:
        del plugged[0]
    # The guest may have come between the device and the header: by so much, and not more.
    loads = [load for load in vm.vmcore.loads() if device.start <= load.start <= device.end]
    listed = sum(load.end + 1 - load.start for load in loads)
    end = device.start + max(plugged)
    assert all(load.end < end for load in loads), "the dump has what is not there"
    assert min(plugged) - listed <= apart, "the dump lacks what is there"
    vm.driver.load()
    check_canaries(vm, pages[:: len(pages) // 100])


def crash_at(vm: VM, size: str, at: int) -> int:
    """Asks for `size`, and crashes the guest as soon as it has come as far as `at`. Returns how far it was."""
    grows = parse_size(size) > vm.vmem[0].plugged()
    vm.vmem[0].request(size)
    deadline = time.monotonic() + SECONDS
    plugged = vm.vmem[0].plugged()
    while not (plugged > at if grows else plugged < at):  # without a pause
        assert time.monotonic() < deadline, "no progress"
        plugged = vm.vmem[0].plugged()
    vm.crash.strike()
    wait_for_dump(vm)
    return plugged


def wait_for_dump(vm: VM) -> None:
    try:
        vm.wait_booted()
    except Failure:
        # Without a crash kernel to start, the guest goes down.
        assert vm.console().count("Linux version") > 1, "the dump is missing"
        raise


def asked(boot: Boot, kernel: str, change: Callable[[VM], None]) -> tuple[int, int]:
    """Device blocks that are read from the dump, and requests that takes."""
    vm = boot(vmem=["2G"], cmdline=CMDLINE, kernel=kernel, trace=True)
    vm.crash.load()
    change(vm)
    device = vm.iomem().one("virtio0")
    vm.crash.now()
    vm.driver.load()
    before = len(vm.requests())
    loads = [load for load in vm.vmcore.loads() if device.start <= load.start <= device.end]
    size = sum(load.end + 1 - load.start for load in loads)
    for load in loads:
        count = (load.end + 1 - load.start) // MIB
        vm.sh(
            f"dd if=/proc/vmcore of=/dev/null iflag=skip_bytes skip={load.offset} bs=1M count={count}"
        )
    requests = [line for line in vm.requests()[before:] if "state_request" in line]
    return size // (2 * MIB), len(requests)


@pytest.mark.base("compared")
@pytest.mark.complains(CRASHED)
@pytest.mark.parametrize("change", [shrink, checkerboard])
def test_the_device_is_asked_about_more_than_one_block_at_a_time(
    boot: Boot, change: Callable[[VM], None]
) -> None:
    blocks, requests = asked(boot, "base", change)
    assert requests == blocks
    blocks, requests = asked(boot, "patched", change)
    # One for each piece, and some to find out how large they are.
    assert 0 < requests <= blocks // 8
