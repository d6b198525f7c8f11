# SPDX-License-Identifier: GPL-2.0
"""User space takes memory offline and online while virtio-mem unplugs it."""

import pytest

from conftest import Boot
from vmtest.cmdline import HOSTED, MOVABLE
from vmtest.errors import Failure
from vmtest.linux import MEMORY

# Blocks come and go meanwhile, and the driver vetoes what it is at.
TOGGLE = f"""
    rm -f stop stopped
    : >toggles
    while [ ! -e stop ]; do
        for state in offline online_movable; do
            for block in {MEMORY}/memory*; do
                [ ! -e $block/valid_zones ] || ! grep -q Movable $block/valid_zones || echo $state >$block/state
            done
        done
        echo >>toggles
    done >/dev/null 2>&1 && touch stopped &
"""


@pytest.mark.base("same")
@pytest.mark.parametrize("cmdline", ["", HOSTED])
def test_blocks_go_offline_while_they_are_unplugged(boot: Boot, cmdline: str) -> None:
    vm = boot(vmem=["4G"], cmdline=f"{MOVABLE} {cmdline}")
    before = vm.snapshot()
    vm.sh(TOGGLE)
    for size in ["4G", "256M", "3G", "0", "2G", "1G", "4G", "0"]:
        vm.vmem[0].resize(size)
    for _ in range(20):
        if int(vm.sh("wc -l <toggles")) > 2:
            break
        # The driver was so fast that it hardly met the other.
        vm.vmem[0].resize("4G")
        vm.vmem[0].resize("0")
    else:
        raise Failure("memory is not taken offline and online meanwhile")
    vm.sh("touch stop; until [ -e stopped ]; do usleep 10000; done")
    assert vm.snapshot() == before
