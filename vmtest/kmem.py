# SPDX-License-Identifier: GPL-2.0
"""Persistent memory that dax/kmem makes System RAM, and gives back."""

from vmtest.units import GIB
from vmtest.linux import Linux

# Of the boot memory; has to be below the memory that the machine is given.
PERSISTENT = "memmap=1G!4G"
START, SIZE = 4 * GIB, GIB

# What `ndctl create-namespace --mode=devdax` does: the persistent memory becomes dax0.0.
MAKE_DAX_DEVICE = """
    set -e
    cat /sys/bus/nd/devices/ndbus0/wait_probe
    echo namespace0.0 >/sys/bus/nd/drivers/nd_pmem/unbind
    cd /sys/bus/nd/devices/dax0.0
    echo ram >mode
    cat /proc/sys/kernel/random/uuid >uuid
    echo namespace0.0 >namespace
    echo dax0.0 >/sys/bus/nd/drivers/dax_pmem/bind
    echo dax0.0 >/sys/bus/dax/drivers/device_dax/unbind
"""


def hand_over(vm: Linux) -> None:
    """`daxctl reconfigure-device --mode=system-ram`; naming the device to the driver binds it as well."""
    vm.sh("echo dax0.0 >/sys/bus/dax/drivers/kmem/new_id")


def blocks(vm: Linux) -> range:
    (ram,) = vm.iomem().system_ram("kmem")
    return range(vm.block_at(ram.start), vm.block_at(ram.end) + 1)


def take_offline(vm: Linux, keep: int = 0) -> None:
    """All but the last `keep` memory blocks."""
    there = blocks(vm)
    vm.set_state("offline", *there[:len(there) - keep])


TAKE_BACK = "cd /sys/bus/dax/drivers/kmem && echo dax0.0 >unbind && echo dax0.0 >remove_id"


def take_back(vm: Linux) -> None:
    """Of memory that is offline."""
    vm.sh(TAKE_BACK)


def start_taking_back(vm: Linux) -> None:
    """Of memory whose last block alone is online. Does not wait: /gone is there when all of it is gone."""
    last = vm.state_file(blocks(vm)[-1])
    vm.sh(f"{{ echo offline >{last} && {TAKE_BACK} && touch /gone; }} >/dev/null 2>&1 &")
