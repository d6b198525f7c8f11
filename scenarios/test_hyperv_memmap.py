# SPDX-License-Identifier: GPL-2.0
"""memory_hotplug.memmap_on_memory with Hyper-V's protocol: what is added pays for its own memory map."""

import pytest

from conftest import BootHyperV
from vmtest.cmdline import HOSTED_MOVABLE
from vmtest.hyperv import HyperV
from vmtest.linux import MEMORY
from vmtest.units import GIB, KIB, MIB, PAGE, memmap, parse_size
from vmtest.wait import wait_until

CMDLINE = HOSTED_MOVABLE

pytestmark = pytest.mark.xdist_group("hyperv")  # such a guest keeps more than one CPU busy


def grow(vm: HyperV, size: str) -> float:
    """What each GiB that is added takes of the memory the guest booted with, in KiB."""
    had, free = vm.driver_has(), vm.boot_memory_free()
    vm.resize(size)
    taken = (free - vm.boot_memory_free()) / KIB / ((parse_size(size) - had) / GIB)
    print(f"{vm.name}: {taken:.0f} KiB of boot memory for each GiB more, up to {size}")
    return taken


def check_hosted(vm: HyperV, before: int) -> None:
    """The map of each memory block is in it, and is as online as the block is."""
    added = vm.driver_has() - parse_size(vm.machine.memory)
    (line,) = vm.hot_added()
    assert line.size == added
    usable = vm.block_size - memmap(vm.block_size)
    blocks = [vm.block_at(line.start) + number for number in (0, 1, 5)]
    online = added // vm.block_size
    for block, state in [(0, "offline"), (2, "offline"), (0, "online"), (1, "offline")]:
        assert vm.sh(f"cat {MEMORY}/memory{blocks[block]}/memmap_on_memory") == "1"
        vm.set_state(state, blocks[block])
        online += 1 if state == "online" else -1
        counters = vm.counters()
        assert counters["pages_added"] == added // PAGE
        assert counters["pages_onlined"] == online * vm.block_size // PAGE
        assert vm.meminfo()["MemTotal"] == before + online * usable
    vm.set_state("online", *blocks[1:])
    assert vm.counters()["pages_onlined"] == added // PAGE


@pytest.mark.base("compared")
@pytest.mark.parametrize("far", [False, pytest.param(True, marks=pytest.mark.long)])  # that takes minutes more
def test_a_small_guest_grows_out_of_what_it_is_given(boot_hyperv: BootHyperV, far: bool) -> None:
    base = boot_hyperv("32G", kernel="base", memory="256M", cmdline=CMDLINE, doomed=True)
    patched = boot_hyperv("32G", kernel="patched", memory="256M", cmdline=CMDLINE)
    total = {vm: vm.meminfo()["MemTotal"] for vm in (base, patched)}
    for size in ["4G", "8G"] if far else ["2G"]:
        new = parse_size(size) - 256 * MIB
        assert 16000 < grow(base, size) < 17000
        assert grow(patched, size) <= 64
        assert base.meminfo()["MemTotal"] == total[base] + new
        assert patched.meminfo()["MemTotal"] == total[patched] + new - memmap(new)
        for vm in (base, patched):
            counters = vm.counters()
            assert counters["pages_added"] == counters["pages_onlined"] == new // PAGE
            assert [line.size for line in vm.hot_added()] == [new]  # merged
    check_hosted(patched, total[patched])
    if not far:
        return
    # All of the memory that the base booted with is memory map before it has that.
    base.request("16G")
    wait_until(
        lambda: "hot_add memory failed error is -12" in base.console(), lambda: "the base goes on"
    )
    assert base.actual() < 16 * GIB
    base.close()
    for size in ["16G", "32G"]:
        assert grow(patched, size) <= 64
    counted = patched.counters()["total_pages_committed"] * PAGE
    assert abs(patched.report() - counted) < 16 * MIB
