# SPDX-License-Identifier: GPL-2.0
"""memory_hotplug.memmap_on_memory with virtio-mem: what is plugged pays for its own memory map."""

import pytest

from conftest import Boot
from vmtest.cmdline import HOSTED, HOSTED_MOVABLE, KERNEL, MOVABLE, OFFLINE, ONLINE
from vmtest.proc import Zone
from vmtest.units import GIB, MIB, PAGE, memmap, parse_size
from vmtest.vmem import BBM, BBM_LARGE, SBM
from vmtest.wait import wait_until

CMDLINE = HOSTED_MOVABLE


@pytest.mark.base(fails="the system paid for the memory map")
@pytest.mark.parametrize("mode", [SBM, BBM, BBM_LARGE])
def test_a_small_guest_grows_out_of_what_it_is_given(boot: Boot, mode: str) -> None:
    vm = boot(vmem=["8G"], memory="256M", cmdline=CMDLINE)
    vm.driver.reload(mode)
    before = vm.snapshot()
    for size in ["4G", "8G", "1G", "2G", "0"]:
        vm.vmem[0].resize(size)
        plugged = parse_size(size)
        grown = vm.meminfo()["MemTotal"] - before.total
        assert grown == plugged - memmap(plugged), "the system paid for the memory map"
        assert vm.zoneinfo()["0/Movable"].present == plugged // PAGE
        assert len(vm.iomem().under(vm.vmem[0].owner)) == bool(plugged)
    assert vm.snapshot() == before


@pytest.mark.base("same")
def test_every_size_is_reached_up_and_down(boot: Boot) -> None:
    vm = boot(vmem=["2G"], memory="256M", cmdline=CMDLINE)
    before = vm.snapshot()
    piece, block = parse_size(vm.machine.piece) // MIB, 128
    sizes = [piece, 2 * piece, block - piece, block, block + piece, block + 2 * piece, block + 3 * piece]
    sizes += [2 * block + piece, 1024, 1024 + piece, 2048]
    for size in sizes + sizes[::-1] + [2048, piece, 3 * piece, 0]:
        vm.vmem[0].resize(f"{size}M")  # waits until the device has exactly that
    assert vm.snapshot() == before


@pytest.mark.base("same")
def test_a_little_memory_is_of_use(boot: Boot) -> None:
    vm = boot(vmem=["2G"], memory="256M", cmdline=CMDLINE)
    before = vm.meminfo()["MemTotal"]
    piece = parse_size(vm.machine.piece)
    for size in [piece, 2 * piece, 128 * MIB, 128 * MIB + memmap(128 * MIB)]:
        vm.vmem[0].resize(str(size))
        # Less than a block: not worth a memory map of its own, which would be all of it at first.
        assert vm.meminfo()["MemTotal"] - before == size


@pytest.mark.base(fails="the system paid for the memory map")
@pytest.mark.parametrize("device_block", ["4M", "8M", "64M"])
def test_what_shares_a_piece_with_the_memory_map_is_of_use(boot: Boot, device_block: str) -> None:
    """The device plugs larger pieces than a memory map fills."""
    vm = boot(vmem=["2G"], device_block=device_block, cmdline=CMDLINE)
    before = vm.snapshot()
    piece = parse_size(device_block)
    block = vm.block_size
    for pieces in [1, 2, block // piece, block // piece + 1, GIB // piece, block // piece, 1, 3]:
        vm.vmem[0].resize(str(pieces * piece))
        maps = vm.hosted_maps()
        assert maps or pieces < 3, "the system paid for the memory map"
        assert vm.meminfo()["MemTotal"] == before.total + pieces * piece - maps
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before


@pytest.mark.architectures("x86_64")  # others have blocks of one size
@pytest.mark.base(fails="the system paid for the memory map")
def test_memory_blocks_of_2_gib(boot: Boot) -> None:
    """The memory map takes 32 MiB, many pieces that the device plugs."""
    vm = boot(vmem=["8G"], memory="66G", cmdline=CMDLINE)
    assert vm.block_size == 2 * GIB
    before = vm.snapshot()
    # QEMU has a device's first GiBs used only once so much was requested, whatever a block is.
    vm.vmem[0].resize("8G")
    # Less than a memory map: not hosted. A step behind and before each border, up and down.
    sizes = ["2M", "32M", "34M", "2G", "2050M", "2082M", "4G", "4098M", "6G"]
    for size in sizes + sizes[::-1] + ["6G", "2060M", "66M", "30M", "0"]:
        vm.vmem[0].resize(size)
    assert vm.snapshot() == before
    vm.vmem[0].resize("4G")
    grown = vm.meminfo()["MemTotal"] - before.total
    assert grown == 4 * GIB - 64 * MIB, "the system paid for the memory map"
    # In steps of less than a memory map: no block is left with nothing but its map for long.
    want = 4 * GIB + 64 * MIB
    vm.vmem[0].resize("6G")
    while want > 2 * GIB - 128 * MIB:
        vm.vmem[0].request(str(want))
        wait_until(lambda: vm.vmem[0].plugged() == want, lambda: f"{vm.vmem[0].plugged()}, not {want}")
        vm.driver.settle()
        # With the map of each block, this many hold what is plugged; one may be about to go.
        assert vm.driver.added() <= -(-want // (2 * GIB)) * 2 * GIB + 2 * GIB
        want -= 30 * MIB
    vm.vmem[0].resize("4G")
    # Nothing but maps, and less than one is to go: a whole one goes, and a piece comes again.
    for size in ["64M", "62M", "34M", "32M", "30M", "0"]:
        vm.vmem[0].resize(size)
    assert vm.snapshot() == before


@pytest.mark.base(fails="the system paid for the memory map")
# Debian's firmware for arm64 tells of memory that no node has, upon which the kernel takes all to be one.
@pytest.mark.parametrize("second_node", [False, pytest.param(True, marks=pytest.mark.architectures("x86_64"))])
@pytest.mark.parametrize(
    "online",
    [
        OFFLINE,
        f"{ONLINE} memory_hotplug.online_policy=auto-movable",
        ONLINE,
        KERNEL,
        MOVABLE,
    ],
)
def test_zones_have_what_is_plugged(boot: Boot, online: str, second_node: bool) -> None:
    vm = boot(
        vmem=["2G"],
        second_node=second_node,
        cmdline=f"{HOSTED} {online}",
    )
    before = vm.snapshot()
    vm.vmem[0].resize("1G")
    added = sorted(set(vm.memory_blocks()) - set(before.blocks))
    if online == OFFLINE:
        vm.set_state("online_kernel", *added[:3])
        vm.set_state("online_movable", *added[3:])
    now = vm.snapshot()
    node = f"{int(second_node)}/"

    def gained(size: str) -> int:
        """In all zones of the node, in bytes."""

        def pages(zones: dict[str, Zone]) -> int:
            return sum(getattr(zones[zone], size) for zone in zones if zone.startswith(node))

        return PAGE * (pages(now.zones) - pages(before.zones))

    assert gained("present") == GIB
    assert gained("managed") == GIB - memmap(GIB), "the system paid for the memory map"
    assert now.total - before.total == gained("managed")
    vm.vmem[0].request("0")
    # Kernel memory that came to lie there may stay, as ever: slabs of the node, for one.
    rest = 0 if online == MOVABLE else 64 * MIB
    wait_until(lambda: vm.vmem[0].plugged() <= rest, lambda: f"{vm.vmem[0].plugged()} bytes stay plugged")
    vm.driver.settle()
    now = vm.snapshot()
    assert gained("present") == vm.driver.added()
    assert vm.driver.added() or now == before


@pytest.mark.base("same")
def test_unplug_of_offline_memory_only(boot: Boot) -> None:
    """unplug_online=0: what is online stays, what an administrator offlines goes at once."""
    vm = boot(vmem=["2G"], cmdline=CMDLINE)
    vm.driver.reload("unplug_online=0")
    before = vm.snapshot()
    vm.vmem[0].resize("512M")
    grown = vm.snapshot()
    vm.vmem[0].request("0")
    vm.driver.settle()
    assert vm.snapshot() == grown
    vm.set_state("offline", *sorted(set(grown.blocks) - set(before.blocks)))
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before
