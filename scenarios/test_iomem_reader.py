# SPDX-License-Identifier: GPL-2.0
"""Somebody reads /proc/iomem while memory goes: kexec-tools lists from there what to dump."""

import pytest

from conftest import Boot
from vmtest.cmdline import MOVABLE


@pytest.mark.architectures("x86_64", "arm64")  # others have nothing behind the memory
@pytest.mark.base(fails="passed over")
def test_what_follows_is_not_passed_over(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline=MOVABLE)
    vm.vmem[0].resize("512M")
    whole = [line.strip() for line in vm.iomem().text.splitlines()]
    seen = vm.read_iomem_while(lambda: vm.vmem[0].resize("0"))
    assert [line.strip() for line in seen] == whole, "entries were passed over"
