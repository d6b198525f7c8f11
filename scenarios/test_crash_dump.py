"""A real crash: the capture kernel finds in /proc/vmcore what the header promised."""

import pytest

from conftest import Boot


@pytest.mark.base("same")
@pytest.mark.complains("Kernel panic - not syncing: NMI")
def test_dump_holds_what_was_plugged(boot: Boot) -> None:
    vm = boot(vmem=["2G"], cmdline="crashkernel=128M memhp_default_state=online_movable")
    vm.load_crash_kernel()
    empty = vm.crash_header()
    vm.resize("1G")
    (ram,) = vm.iomem().under("virtio0")

    promised = vm.crash_header()
    assert [(load.start, load.end) for load in promised if load not in empty] == [
        (ram.start, ram.end)
    ]
    vm.crash()
    assert vm.vmcore_loads() == promised
