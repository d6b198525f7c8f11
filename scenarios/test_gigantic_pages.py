# SPDX-License-Identifier: GPL-2.0
"""Huge pages of 1 GiB out of memory that is in use: what cannot become one is left alone."""

import struct

import pytest

from conftest import Boot
from vmtest.cmdline import HOSTED, MOVABLE, movable
from vmtest.vm import VM

# Where it looks for pages, and the CPU, are x86's.
pytestmark = pytest.mark.architectures("x86_64")

KPF_LRU = 5
GIGANTIC = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"


def in_use(vm: VM) -> set[int]:
    """The pages on LRU lists, from 4 GiB on: by their flags in Documentation/admin-guide/mm/pagemap.rst."""
    flags = vm.run("dd if=/proc/kpageflags bs=1M skip=8 2>/dev/null").output
    return {number for number, (entry,) in enumerate(struct.iter_unpack("<Q", flags)) if entry >> KPF_LRU & 1}


def want(vm: VM, pages: int) -> tuple[int, int]:
    """How many huge pages there are then, and how many pages had to move for them."""
    before = in_use(vm)
    vm.sh(f"echo 1 >/proc/sys/vm/movable_gigantic_pages; echo {pages} >{GIGANTIC}")
    return int(vm.sh(f"cat {GIGANTIC}")), len(before - in_use(vm))


def grown(boot: Boot, **more: str) -> VM:
    cmdline = f"{MOVABLE} {HOSTED} {more.pop('cmdline', '')}"
    vm = boot(vmem=["3G"], cmdline=cmdline, cpu="qemu64,+pdpe1gb", **more)
    vm.vmem[0].resize("3G")
    return vm


def with_memory_in_use(vm: VM) -> tuple[int, int]:
    vm.sh("mkdir /files && mount -t tmpfs -o size=90% tmpfs /files")
    vm.sh("dd if=/dev/zero of=/files/used bs=1M count=800 2>/dev/null")
    return want(vm, 1)


@pytest.mark.base("compared")
def test_nothing_is_migrated_where_memory_maps_are_in_the_way(boot: Boot) -> None:
    # virtio-mem hosts no memory maps on the base.
    vm = grown(boot, kernel="base")
    assert not vm.driver.memmap_size()
    got, moved = with_memory_in_use(vm)
    assert got == 1 and moved > 1000
    vm = grown(boot, kernel="patched")
    assert vm.driver.memmap_size()
    got, moved = with_memory_in_use(vm)
    assert got == 0 and moved < 1000, f"{moved} pages were migrated for {got} huge pages"


@pytest.mark.base("same")
def test_a_gigabyte_without_memory_maps_is_found(boot: Boot) -> None:
    vm = grown(boot, memory="4G", cmdline=movable("2G"))
    got, _ = with_memory_in_use(vm)
    assert got == 1
