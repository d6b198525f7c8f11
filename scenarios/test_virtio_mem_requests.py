# SPDX-License-Identifier: GPL-2.0
"""What the driver asks its device: the same as ever while nothing hosts its memory map."""

import re

import pytest

from conftest import Boot
from vmtest.cmdline import HOSTED_MOVABLE, MOVABLE
from vmtest.linux import Snapshot
from vmtest.vmem import BBM, SBM

SIZES = ["2M", "130M", "1G", "2G", "1026M", "128M", "126M", "0", "512M"]
LARGE_SIZES = ["1G", "256M", "1G", "512M", "2G", "128M", "0", "512M"]  # of whole memory blocks


def grow_and_shrink(boot: Boot, kernel: str, mode: str) -> tuple[list[Snapshot], list[str]]:
    """What the guest shows at each size, and what its driver asked."""
    cmdline = MOVABLE
    # On a node of its own nothing is in use by chance.
    vm = boot(["2G"], kernel=kernel, memory="256M", cmdline=cmdline, trace=True, second_node=True)
    vm.driver.reload(mode)
    shown = []
    for size in LARGE_SIZES if mode else SIZES:
        vm.vmem[0].resize(size)
        shown.append(vm.snapshot())
    return shown, vm.requests()


@pytest.mark.architectures("x86_64", "arm64")  # which have nodes
@pytest.mark.base("compared")
@pytest.mark.parametrize("mode", [SBM, BBM])
def test_nothing_changes_while_the_parameter_is_off(boot: Boot, mode: str) -> None:
    base, patched = (grow_and_shrink(boot, kernel, mode) for kernel in ("base", "patched"))
    assert len(base[1]) > 50
    assert patched[1] == base[1]
    # Kernel code and data are larger, and lie elsewhere: what the guest booted with is not equal.
    for ours, theirs in zip(patched[0], base[0]):
        assert ours.blocks == theirs.blocks
        assert ours.total - patched[0][-2].total == theirs.total - base[0][-2].total
        assert tail(ours) == tail(theirs)


def tail(shown: Snapshot) -> str:
    """/proc/iomem from the virtio-mem device on."""
    return re.split(r" : virtio\d+\n", shown.iomem, maxsplit=1)[1]


@pytest.mark.base("same")
@pytest.mark.parametrize("mode", [SBM, BBM])
def test_no_more_is_plugged_than_requested_at_any_moment(boot: Boot, mode: str) -> None:
    vm = boot(
        vmem=["2G"],
        cmdline=HOSTED_MOVABLE,
        trace=True,
    )
    vm.driver.reload(mode)
    for size in LARGE_SIZES if mode else SIZES:
        vm.vmem[0].resize(size)
    # The device refuses what exceeds the requested size.
    answers = [line for line in vm.requests() if line.startswith("virtio_mem_send_response")]
    assert answers and set(answers) == {"virtio_mem_send_response type=0"}
