# SPDX-License-Identifier: GPL-2.0
"""Entries merge within their owner only: the boundary of a device stays visible."""

import pytest

from conftest import Boot
from vmtest.cmdline import MOVABLE
from vmtest.units import GIB


@pytest.mark.base("same")
def test_two_virtio_mem_devices_side_by_side(boot: Boot) -> None:
    vm = boot(vmem=["1G", "1G"], cmdline=MOVABLE)
    before = vm.snapshot()
    # In turns, so that either device grows next to memory of the other.
    for size in ("512M", "1G"):
        for device in vm.vmem:
            device.resize(size)

    iomem = vm.iomem()
    first, second = (iomem.one(device.owner) for device in vm.vmem)
    assert first.end + 1 == second.start
    for owner in (first, second):
        ram = f"{owner.start:x}-{owner.end:x} : System RAM (virtio_mem)"
        assert [str(entry) for entry in owner.children] == [ram]

    for device in vm.vmem:
        device.resize("0")
    assert vm.snapshot() == before


@pytest.mark.architectures("x86_64", "arm64")  # which have DIMMs
@pytest.mark.base("same")
def test_two_dimms_side_by_side(boot: Boot) -> None:
    vm = boot(dimms=True, cmdline=MOVABLE)
    before = vm.snapshot()
    boot_ram = len(vm.iomem().named("System RAM"))
    for name in ("dimm0", "dimm1"):
        vm.dimms.add(name, "1G")

    first, second = vm.iomem().named("System RAM")[boot_ram:]
    assert (first.size, second.size) == (GIB, GIB)
    assert first.end + 1 == second.start

    vm.dimms.remove("dimm0")
    assert [str(ram) for ram in vm.iomem().named("System RAM")[boot_ram:]] == [str(second)]
    vm.dimms.remove("dimm1")
    assert vm.snapshot() == before
