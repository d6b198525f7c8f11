"""memory_hotplug.memmap_on_memory: each block of an ACPI DIMM hosts its own memory map."""

import pytest

from conftest import Boot
from vmtest.units import GIB
from vmtest.vm import VM

PAGE = 4096
MAP = GIB // PAGE * 64  # the memory map of 1 GiB: a struct page of 64 bytes for each page


def set_state(vm: VM, blocks: list[int], state: str) -> None:
    for block in blocks:
        vm.sh(f"echo {state} >/sys/devices/system/memory/memory{block}/state")


@pytest.mark.base("same")
@pytest.mark.parametrize("hosted", [False, True])
def test_add_online_offline_remove(boot: Boot, hosted: bool) -> None:
    vm = boot(cmdline=f"memory_hotplug.memmap_on_memory={int(hosted)}")
    before = vm.snapshot()
    free = vm.meminfo()["MemFree"]
    vm.add_dimm("dimm0", "1G")
    # Memory that is added and still offline: the map is what it costs, unless it hosts that itself.
    cost = free - vm.meminfo()["MemFree"]
    assert cost < MAP // 2 if hosted else cost >= MAP // 2
    assert vm.sh("grep nr_memmap_pages /proc/vmstat") == f"nr_memmap_pages {MAP // PAGE}"

    blocks = sorted(set(vm.memory_blocks()) - set(before.blocks))
    set_state(vm, blocks, "online_movable")
    usable = GIB - MAP if hosted else GIB
    assert vm.meminfo()["MemTotal"] - before.total == usable
    movable = vm.zoneinfo()["0/Movable"]
    assert (movable.spanned, movable.present) == (GIB // PAGE, GIB // PAGE)
    assert movable.managed == usable // PAGE

    set_state(vm, blocks, "offline")
    assert vm.meminfo()["MemTotal"] == before.total
    vm.remove_dimm("dimm0", "1G")
    assert vm.snapshot() == before
    assert vm.sh("grep nr_memmap_pages /proc/vmstat") == "nr_memmap_pages 0"


@pytest.mark.base(fails="no memmap_on_memory")
def test_each_block_tells_what_it_hosts(boot: Boot) -> None:
    vm = boot(cmdline="memory_hotplug.memmap_on_memory=1")
    at_boot = vm.memory_blocks()
    vm.add_dimm("dimm0", "1G")
    blocks = vm.memory_blocks()
    for block in blocks:
        shown = vm.run(f"cat /sys/devices/system/memory/memory{block}/memmap_on_memory")
        assert shown.status == 0, "no memmap_on_memory"
        assert int(shown.text) == (block not in at_boot)
    vm.remove_dimm("dimm0", "1G")


@pytest.mark.base("same")
def test_no_block_tells_what_none_can_host(boot: Boot) -> None:
    vm = boot(cmdline="memory_hotplug.memmap_on_memory=0")
    vm.add_dimm("dimm0", "1G")
    assert vm.run("ls /sys/devices/system/memory/memory*/memmap_on_memory").status
