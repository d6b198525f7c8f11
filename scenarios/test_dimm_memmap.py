# SPDX-License-Identifier: GPL-2.0
"""memory_hotplug.memmap_on_memory: each block of an ACPI DIMM hosts its own memory map."""

import pytest

from conftest import Boot
from vmtest.cmdline import HOSTED
from vmtest.linux import MEMORY
from vmtest.units import GIB, PAGE, memmap

pytestmark = pytest.mark.architectures("x86_64", "arm64")


@pytest.mark.base("same")
@pytest.mark.parametrize("hosted", [False, pytest.param(True, marks=pytest.mark.architectures("x86_64"))])
def test_add_online_offline_remove(boot: Boot, hosted: bool) -> None:
    add_online_offline_remove(boot, hosted)


@pytest.mark.architectures("arm64")
@pytest.mark.base(fails="Operation not permitted")
def test_what_hosts_its_map_goes_offline(boot: Boot) -> None:
    add_online_offline_remove(boot, hosted=True)


@pytest.mark.architectures("arm64")
@pytest.mark.base(fails="Operation not permitted")
def test_what_is_mapped_by_large_entries_goes_offline(boot: Boot) -> None:
    add_online_offline_remove(boot, hosted=False, more="rodata=noalias")


def add_online_offline_remove(boot: Boot, hosted: bool, more: str = "") -> None:
    vm = boot(dimms=True, cmdline=f"memory_hotplug.memmap_on_memory={int(hosted)} {more}")
    before = vm.snapshot()
    free = vm.meminfo()["MemFree"]
    vm.dimms.add("dimm0", "1G")
    # Memory that is added and still offline: the map is what it costs, unless it hosts that itself.
    cost = free - vm.meminfo()["MemFree"]
    assert cost < memmap(GIB) // 2 if hosted else cost >= memmap(GIB) // 2
    assert vm.sh("grep nr_memmap_pages /proc/vmstat") == f"nr_memmap_pages {memmap(GIB) // PAGE}"

    blocks = sorted(set(vm.memory_blocks()) - set(before.blocks))
    vm.set_state("online_movable", *blocks)
    usable = GIB - memmap(GIB) if hosted else GIB
    assert vm.meminfo()["MemTotal"] - before.total == usable
    movable = vm.zoneinfo()["0/Movable"]
    assert (movable.spanned, movable.present) == (GIB // PAGE, GIB // PAGE)
    assert movable.managed == usable // PAGE

    vm.set_state("offline", *blocks)
    assert vm.meminfo()["MemTotal"] == before.total
    vm.dimms.remove("dimm0")
    assert vm.snapshot() == before
    assert vm.sh("grep nr_memmap_pages /proc/vmstat") == "nr_memmap_pages 0"


@pytest.mark.base(fails="no memmap_on_memory")
def test_each_block_tells_what_it_hosts(boot: Boot) -> None:
    vm = boot(dimms=True, cmdline=HOSTED)
    at_boot = vm.memory_blocks()
    vm.dimms.add("dimm0", "1G")
    blocks = vm.memory_blocks()
    for block in blocks:
        shown = vm.run(f"cat {MEMORY}/memory{block}/memmap_on_memory")
        assert shown.status == 0, "no memmap_on_memory"
        assert int(shown.text) == (block not in at_boot)
    vm.dimms.remove("dimm0")


@pytest.mark.base("same")
def test_no_block_tells_what_none_can_host(boot: Boot) -> None:
    vm = boot(dimms=True, cmdline="memory_hotplug.memmap_on_memory=0")
    vm.dimms.add("dimm0", "1G")
    assert vm.run(f"ls {MEMORY}/memory*/memmap_on_memory").status
