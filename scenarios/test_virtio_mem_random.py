# SPDX-License-Identifier: GPL-2.0
"""Hundreds of sizes in no order, while the guest makes use of its memory."""

import random

import pytest

from conftest import Boot
from vmtest.cmdline import FORCED, MOVABLE
from vmtest.units import MIB, parse_size
from vmtest.wait import wait_until

FILES = 8
SEED = 1


# With 16 MiB, a memory map shares what the device plugs at once with memory that is of use. With 1 MiB, it takes two.
@pytest.mark.base("same")
@pytest.mark.parametrize(
    "device_block, steps",
    [
        ("2M", 80),
        ("16M", 60),
        pytest.param("2M", 300, marks=pytest.mark.long),
        pytest.param("1M", 80, marks=pytest.mark.architectures("s390x")),
    ],
)
def test_sizes_in_no_order_with_memory_in_use(boot: Boot, device_block: str, steps: int) -> None:
    # Two devices: their requests, and memory that moves from one to the other, overlap.
    vm = boot(
        vmem=["1G", "512M"],
        memory="1G",
        device_block=device_block,
        cmdline=f"{FORCED} {MOVABLE}",
    )
    before = vm.snapshot()
    chosen = random.Random(SEED)
    unit = {"1M": 1, "2M": 4}.get(device_block, parse_size(device_block) // MIB)
    files = {f"/files/{number}": 0 for number in range(FILES)}  # what they take, in MiB
    vm.sh("mkdir /files && mount -t tmpfs -o size=4G tmpfs /files")
    for _ in range(steps):
        # What files take has to fit, with a reserve for what the guest runs.
        least = max(0, sum(files.values()) - 256)
        first = chosen.randrange(0, 1024 + unit, unit)
        second = chosen.randrange(0, 512 + unit, unit)
        if first + second < least:
            first, second = 1024, 512
        for device, size in zip(vm.vmem, [first, second]):
            device.request(f"{size}M")
        if chosen.random() < 0.7:
            for device, size in zip(vm.vmem, [first, second]):
                want = size * MIB
                wait_until(
                    lambda: device.plugged() == want,
                    lambda: f"{device.name} has {device.plugged()} of {want}, with {files} MiB in use",
                )
            name = chosen.choice(list(files))
            room = first + second + 128 - sum(files.values()) + files[name]
            files[name] = chosen.randrange(0, max(1, min(150, room)))
            vm.sh(f"dd if=/dev/zero of={name} bs=1M count={files[name]} 2>/dev/null")
    vm.sh("umount /files")
    for device in vm.vmem:
        device.resize("0")
    assert vm.snapshot() == before
