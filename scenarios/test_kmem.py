# SPDX-License-Identifier: GPL-2.0
"""System RAM below an owner that is not busy: persistent memory handed over by dax/kmem."""

import pytest

from conftest import Boot
from vmtest import kmem
from vmtest.cmdline import MOVABLE

# "memmap=1G!4G" is x86's.
pytestmark = pytest.mark.architectures("x86_64")


@pytest.mark.base("same")
def test_persistent_memory_as_system_ram_and_back(boot: Boot) -> None:
    vm = boot(memory="4G", cmdline=f"{kmem.PERSISTENT} {MOVABLE}")
    owner = vm.iomem().one("Persistent Memory (legacy)")
    assert (owner.start, owner.size) == (kmem.START, kmem.SIZE)
    vm.sh(kmem.MAKE_DAX_DEVICE)
    before = vm.snapshot()
    # Twice: a range that was given back can be handed over again.
    for _ in range(2):
        kmem.hand_over(vm)
        (ram,) = vm.iomem().system_ram("kmem")
        assert vm.iomem().under("dax0.0") == [ram]
        # The dax device keeps its own metadata at the start; whole memory blocks are what is left.
        assert ram.size == kmem.SIZE - vm.block_size
        kmem.take_offline(vm)
        kmem.take_back(vm)
        assert vm.snapshot() == before
