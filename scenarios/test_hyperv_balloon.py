# SPDX-License-Identifier: GPL-2.0
"""Memory that Hyper-V's protocol adds and takes back, and what driver, device and kernel say of it."""

import pytest

from conftest import BootHyperV
from vmtest.cmdline import OFFLINE, ONLINE
from vmtest.hyperv import HyperV
from vmtest.units import MIB, PAGE, parse_size

# Reports count what programs have committed, which changes from one moment to the next.
NOISE = 16 * MIB

pytestmark = pytest.mark.xdist_group("hyperv")  # such a guest keeps more than one CPU busy


def added(vm: HyperV) -> int:
    return vm.counters()["pages_added"] * PAGE


def offline(vm: HyperV) -> int:
    """What the driver reports as committed because it is offline."""
    pages = vm.counters()
    return (pages["pages_added"] - pages["pages_onlined"]) * PAGE


@pytest.mark.base("same")
def test_hot_add_in_steps_and_ballooning(boot_hyperv: BootHyperV) -> None:
    vm = boot_hyperv(cmdline=ONLINE)
    before = vm.meminfo()["MemTotal"]
    assert vm.hot_added() == []
    # 1G once with memory added, once with memory ballooned; 2560M has both to be undone.
    most = 0
    for size in ["640M", "1G", "2G", "1G", "1792M", "1G", "2560M"]:
        vm.resize(size)
        most = max(most, parse_size(size) - 512 * MIB)
        assert (added(vm), offline(vm)) == (most, 0)
        assert vm.meminfo()["MemTotal"] == before + parse_size(size) - 512 * MIB
        (line,) = vm.hot_added()  # merged
        assert line.size == most
    report = vm.report()
    assert abs(report - vm.counters()["total_pages_committed"] * PAGE) < NOISE


@pytest.mark.base("same")
def test_offline_until_somebody_onlines_it(boot_hyperv: BootHyperV) -> None:
    vm = boot_hyperv(cmdline=OFFLINE)
    before = vm.snapshot()
    vm.resize("768M")
    assert (added(vm), offline(vm)) == (256 * MIB, 256 * MIB)
    assert vm.meminfo()["MemTotal"] == before.total
    (line,) = vm.hot_added()
    blocks = range(vm.block_at(line.start), vm.block_at(line.end) + 1)
    assert len(blocks) == 2
    # In this order, so that the number of blocks that are online goes up and down.
    steps = [(0, "online_movable", 1), (1, "online_movable", 2), (0, "offline", 1)]
    steps += [(1, "offline", 0), (1, "online_movable", 1), (0, "online_movable", 2)]
    for block, state, online in steps + [(1, "offline", 1)]:
        vm.set_state(state, blocks[block])
        assert offline(vm) == (2 - online) * vm.block_size
        assert vm.meminfo()["MemTotal"] == before.total + online * vm.block_size
    # The host must not take back what is offline: it is told that it is committed.
    counted = vm.counters()["total_pages_committed"] * PAGE
    assert abs(vm.report() - counted) < NOISE
    vm.set_state("online_movable", blocks[1])
    assert offline(vm) == 0
