"""Entries merge within their owner only: the boundary of a device stays visible."""

import pytest

from conftest import Boot
from vmtest.units import GIB


@pytest.mark.base("same")
def test_two_virtio_mem_devices_side_by_side(boot: Boot) -> None:
    vm = boot(vmem=["1G", "1G"], cmdline="memhp_default_state=online_movable")
    before = vm.snapshot()
    # In turns, so that either device grows next to memory of the other.
    for size in ("512M", "1G"):
        for device in ("vmem0", "vmem1"):
            vm.resize(size, device)

    iomem = vm.iomem()
    first, second = iomem.one("virtio0"), iomem.one("virtio1")
    assert first.end + 1 == second.start
    for owner in (first, second):
        ram = f"{owner.start:x}-{owner.end:x} : System RAM (virtio_mem)"
        assert [str(entry) for entry in owner.children] == [ram]

    for device in ("vmem0", "vmem1"):
        vm.resize("0", device)
    assert vm.snapshot() == before


@pytest.mark.base("same")
def test_two_dimms_side_by_side(boot: Boot) -> None:
    vm = boot(cmdline="memhp_default_state=online_movable")
    before = vm.snapshot()
    boot_ram = len(vm.iomem().named("System RAM"))
    for name in ("dimm0", "dimm1"):
        vm.add_dimm(name, "1G")

    first, second = vm.iomem().named("System RAM")[boot_ram:]
    assert (first.size, second.size) == (GIB, GIB)
    assert first.end + 1 == second.start

    vm.remove_dimm("dimm0", "1G")
    assert [str(ram) for ram in vm.iomem().named("System RAM")[boot_ram:]] == [str(second)]
    vm.remove_dimm("dimm1", "1G")
    assert vm.snapshot() == before
