# SPDX-License-Identifier: GPL-2.0
"""Memory that virtio-mem plugs in steps is one entry in /proc/iomem, whatever its history."""

import pytest

from conftest import Boot
from vmtest.cmdline import MOVABLE
from vmtest.units import MIB
from vmtest.vm import VM


def added(vm: VM) -> list[str]:
    """What lies below the device."""
    return [str(entry) for entry in vm.iomem().under(vm.vmem[0].owner)]


@pytest.mark.base("same")
@pytest.mark.parametrize("step", [128, 256, 512])
def test_one_line_at_every_step(boot: Boot, step: int) -> None:
    vm = boot(vmem=["4G"], cmdline=MOVABLE)
    start = vm.iomem().one(vm.vmem[0].owner).start
    before = vm.snapshot()
    for plugged in range(step, 2048 + step, step):
        vm.vmem[0].resize(f"{plugged}M")
        end = start + plugged * MIB - 1
        assert added(vm) == [f"{start:x}-{end:x} : System RAM (virtio_mem)"]
        assert vm.meminfo()["MemTotal"] == before.total + plugged * MIB
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before


@pytest.mark.base("same")
def test_unplug_in_the_middle_splits_and_plugging_merges_again(boot: Boot) -> None:
    vm = boot(vmem=["2G"], cmdline=MOVABLE)
    start = vm.iomem().one(vm.vmem[0].owner).start
    before = vm.snapshot()
    vm.vmem[0].resize("2G")
    whole = added(vm)
    assert len(whole) == 1

    # The driver unplugs blocks that are offline before any other.
    middle = start + 1024 * MIB
    vm.set_state("offline", vm.block_at(middle))
    vm.vmem[0].resize("1920M")
    assert added(vm) == [
        f"{start:x}-{middle - 1:x} : System RAM (virtio_mem)",
        f"{middle + 128 * MIB:x}-{start + 2048 * MIB - 1:x} : System RAM (virtio_mem)",
    ]

    # The device is full, so the driver has to fill the hole.
    vm.vmem[0].resize("2G")
    assert added(vm) == whole
    vm.vmem[0].resize("0")
    assert vm.snapshot() == before
