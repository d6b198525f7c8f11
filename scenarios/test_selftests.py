# SPDX-License-Identifier: GPL-2.0
"""The kernel's own selftests of memory hotplug pass."""

import re

import pytest

from conftest import Boot
from vmtest import kmem, selftests
from vmtest.cmdline import HOSTED, MOVABLE

pytestmark = pytest.mark.architectures("x86_64")

# Its last test leaves memory behind until the next boot, and is skipped.
DAX = "DAX_KMEM_TEST_DEV=dax0.0 bash dax/dax-kmem-hotplug.sh"


@pytest.mark.base("same")
@pytest.mark.parametrize("hosted", [pytest.param("", marks=pytest.mark.long), HOSTED], ids=["not_hosted", "hosted"])
def test_dax_kmem_hotplug(boot: Boot, hosted: str) -> None:
    vm = boot(memory="4G", cmdline=f"{kmem.PERSISTENT} {MOVABLE} {hosted}")
    vm.sh(kmem.MAKE_DAX_DEVICE)
    kmem.hand_over(vm)
    selftests.bring(vm, "dax")
    said = vm.sh(DAX, seconds=240)
    assert re.search(r"^# Totals: pass:9 fail:0 xfail:0 xpass:0 skip:1 error:0$", said, re.MULTILINE), said


@pytest.mark.base("same")
def test_memory_on_off(boot: Boot) -> None:
    vm = boot(memory="512M", cmdline=MOVABLE, dimms=True)
    vm.dimms.add("dimm0", "512M")
    selftests.bring(vm, "memory-hotplug")
    said = vm.sh("bash memory-hotplug/mem-on-off-test.sh -r 10", seconds=240)
    assert "online->offline" in said and "Test with memory notifier error injection" in said
    assert "FAILED" not in said and "unexpected" not in said and "skip" not in said, said
