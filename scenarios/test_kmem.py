"""System RAM below an owner that is not busy: persistent memory handed over by dax/kmem."""

import pytest

from conftest import Boot
from vmtest.units import GIB
from vmtest.vm import VM

# What `ndctl create-namespace --mode=devdax` does: the persistent memory becomes dax0.0.
MAKE_DAX_DEVICE = """
    set -e
    echo namespace0.0 >/sys/bus/nd/drivers/nd_pmem/unbind
    cd /sys/bus/nd/devices/dax0.0
    echo ram >mode
    cat /proc/sys/kernel/random/uuid >uuid
    echo namespace0.0 >namespace
    echo dax0.0 >/sys/bus/nd/drivers/dax_pmem/bind
    echo dax0.0 >/sys/bus/dax/drivers/device_dax/unbind
"""


def hand_over_and_take_back(vm: VM) -> None:
    """`daxctl reconfigure-device --mode=system-ram`, and the way back."""
    # Naming the device to the driver binds it as well.
    vm.sh("echo dax0.0 >/sys/bus/dax/drivers/kmem/new_id")
    (ram,) = vm.iomem().system_ram("kmem")
    assert vm.iomem().under("dax0.0") == [ram]
    # The dax device keeps its own metadata at the start; whole memory blocks are what is left.
    assert ram.size == GIB - vm.block_size
    for address in range(ram.start, ram.end, vm.block_size):
        vm.sh(f"echo offline >{vm.block_at(address)}/state")
    vm.sh("echo dax0.0 >/sys/bus/dax/drivers/kmem/unbind")
    vm.sh("echo dax0.0 >/sys/bus/dax/drivers/kmem/remove_id")


@pytest.mark.base("same")
def test_persistent_memory_as_system_ram_and_back(boot: Boot) -> None:
    vm = boot(memory="4G", cmdline="memmap=1G!4G memhp_default_state=online_movable")
    owner = vm.iomem().one("Persistent Memory (legacy)")
    assert (owner.start, owner.size) == (4 * GIB, GIB)
    vm.sh(MAKE_DAX_DEVICE)
    before = vm.snapshot()
    # Twice: a range that was given back can be handed over again.
    for _ in range(2):
        hand_over_and_take_back(vm)
        assert vm.snapshot() == before
