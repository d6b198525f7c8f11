"""virtio-mem as a module: loaded, unloaded and loaded again, with and without memory plugged."""

import pytest

from conftest import Boot
from vmtest.initramfs import VIRTIO_MEM


@pytest.mark.base("same")
def test_reload_when_nothing_is_plugged(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline="memhp_default_state=online_movable")  # loads the module
    loaded = vm.snapshot()
    vm.resize("512M")
    vm.resize("0")
    vm.sh("rmmod virtio_mem")
    assert vm.iomem().named("virtio0") == []

    vm.sh(f"insmod {VIRTIO_MEM}")
    assert vm.snapshot() == loaded
    vm.resize("1G")
    (ram,) = vm.iomem().under("virtio0")
    assert str(ram).endswith("System RAM (virtio_mem)")
    vm.resize("0")
    assert vm.snapshot() == loaded


@pytest.mark.base("same")
def test_unload_with_memory_plugged_keeps_it(boot: Boot) -> None:
    """The kernel cannot take the memory back here, so it keeps it and says so."""
    vm = boot(vmem=["1G"], cmdline="memhp_default_state=online_movable")
    vm.resize("512M")
    plugged = vm.snapshot()
    vm.sh("rmmod virtio_mem")
    assert vm.snapshot() == plugged
    assert "device still has system memory added" in vm.sh("dmesg")

    # Nor can a new driver take over: the device's region is still reserved.
    vm.sh(f"insmod {VIRTIO_MEM}")
    assert "reloading the driver is not supported" in vm.sh("dmesg")
    assert vm.snapshot() == plugged
