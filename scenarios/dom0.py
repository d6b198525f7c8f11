# SPDX-License-Identifier: GPL-2.0
"""What scenarios of a dom0 ask of it."""

from vmtest.linux import Snapshot
from vmtest.units import MIB
from vmtest.wait import wait_until
from vmtest.xen import Dom0


def agree(vm: Dom0, size: int) -> None:
    """The driver has, and the hypervisor has given, what was asked for."""
    assert vm.balloon("target_kb") == vm.balloon("info/current_kb") == vm.held() == size


def ask_in_vain(vm: Dom0) -> None:
    """For more than the hypervisor gives, until the driver has said so."""
    vm.allow("513M")
    had = vm.memory_blocks()
    vm.ask(768 * MIB)
    # Not /proc/iomem: its entry comes before the hypervisor is asked, and goes again.
    wait_until(
        lambda: "Cannot add additional memory" in vm.sh("dmesg") or vm.memory_blocks() != had,
        lambda: "nothing happens",
    )
    assert vm.memory_blocks() == had, "what cannot be had is added"


def nothing_lost(vm: Dom0, size: int, before: Snapshot) -> None:
    """Until what was given in vain is given back: more tries follow."""
    wait_until(
        lambda: vm.held() == vm.balloon("info/current_kb") == size and vm.snapshot() == before,
        lambda: f"{vm.held()} bytes, {vm.balloon('info/current_kb')} as the driver says:\n{vm.iomem().text}",
    )
