# SPDX-License-Identifier: GPL-2.0
"""A crash dump holds the memory maps that memory blocks host, and nothing of what is unplugged."""

import re
import struct

import pytest

from conftest import Boot
from vmtest.cmdline import CRASHKERNEL, HOSTED_MOVABLE
from vmtest.console import CRASHED
from vmtest.units import MIB, STRUCT_PAGE, memmap
from vmtest.vm import VM

CMDLINE = f"{CRASHKERNEL} {HOSTED_MOVABLE}"


def vmcoreinfo(vm: VM) -> dict[str, int]:
    """The numbers in what dump tools are told about the kernel."""
    address, size = (int(word, 16) for word in vm.sh("cat /sys/kernel/vmcoreinfo").split())
    pairs = re.findall(r"(\w+\([\w.]+\))=(-?\d+)\n", vm.physical(address, size).decode("latin-1"))
    return {name: int(value) for name, value in pairs}


@pytest.mark.architectures("x86_64", "arm64")  # of others, the last words do not always come out
@pytest.mark.base(fails="no memory map in it")
@pytest.mark.complains(CRASHED)
def test_maps_of_plugged_blocks_and_no_unplugged_pieces(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline=CMDLINE, trace=True)
    known = vmcoreinfo(vm)
    assert known["SIZE(page)"] == STRUCT_PAGE
    vm.vmem[0].resize("1G")
    vm.vmem[0].resize("900M")  # of the last memory block, the memory map and 2 MiB stay
    (ram,) = vm.iomem().under(vm.vmem[0].owner)
    block = ram.end + 1 - vm.block_size
    size = memmap(vm.block_size)
    live = vm.physical(block, size)
    vm.crash.load()
    vm.crash.now()

    vm.driver.load()  # from now on the device says what is plugged
    dumped = vm.vmcore.read([block], size)
    # The map of the unplugged pages lies still; the rest may have changed until the crash.
    unplugged = memmap(4 * MIB)
    assert any(dumped), "no memory map in it"
    assert dumped[unplugged:] == live[unplugged:], "no memory map in it"

    # Each of these pages says that it is offline, where makedumpfile looks for it.
    kind = known["NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)"] & 0xFFFFFFFF
    offset = known["OFFSET(page._mapcount)"]
    pages = range(unplugged + offset, size, STRUCT_PAGE)
    types = {struct.unpack_from("<I", dumped, page)[0] >> 24 for page in pages}
    assert types == {kind >> 24}
    # Those of the memory map itself and of what is plugged do not.
    pages = range(offset, unplugged, STRUCT_PAGE)
    types = {struct.unpack_from("<I", dumped, page)[0] >> 24 for page in pages}
    assert kind >> 24 not in types

    # What is unplugged reads as nothing, and not from the device's memory: it was asked first.
    before = len(vm.requests())
    assert not any(vm.vmcore.read([block + 64 * MIB], 2 * MIB))
    asked = [line for line in vm.requests()[before:] if "state_request" in line]
    assert any(f"addr=0x{block + 64 * MIB:x}" in line for line in asked)
