# SPDX-License-Identifier: GPL-2.0
"""virtio-mem as a module: loaded, unloaded and loaded again, with and without memory plugged."""

import pytest

from conftest import Boot
from vmtest.cmdline import MOVABLE


@pytest.mark.base("same")
def test_reload_when_nothing_is_plugged(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline=MOVABLE)  # loads the module
    loaded = vm.snapshot()
    vm.vmem[0].resize("512M")
    vm.vmem[0].resize("0")
    vm.driver.unload()
    assert vm.iomem().named(vm.vmem[0].owner) == []

    vm.driver.load()
    assert vm.snapshot() == loaded
    vm.vmem[0].resize("1G")
    (ram,) = vm.iomem().under(vm.vmem[0].owner)
    assert str(ram).endswith("System RAM (virtio_mem)")
    vm.vmem[0].resize("0")
    assert vm.snapshot() == loaded


@pytest.mark.base("same")
def test_unload_with_memory_plugged_keeps_it(boot: Boot) -> None:
    """The kernel cannot take the memory back here, so it keeps it and says so."""
    vm = boot(vmem=["1G"], cmdline=MOVABLE)
    vm.vmem[0].resize("512M")
    plugged = vm.snapshot()
    vm.driver.unload()
    assert vm.snapshot() == plugged
    assert "device still has system memory added" in vm.sh("dmesg")

    # Nor can a new driver take over: the device's region is still reserved.
    vm.driver.load()
    assert "reloading the driver is not supported" in vm.sh("dmesg")
    assert vm.snapshot() == plugged
