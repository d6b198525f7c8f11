"""memory_hotplug.memmap_on_memory with virtio-mem: what is plugged pays for its own memory map."""

import pytest

from conftest import Boot
from vmtest.units import parse_size
from vmtest.vm import VM

HOSTED = "memory_hotplug.memmap_on_memory=1 memhp_default_state=online_movable"
MAP = 64  # a struct page of 64 bytes for each 4096: one part in 64
PAGE = 4096


def load(vm: VM, parameters: str) -> None:
    """Loads the driver anew: in sub-block mode, or in big-block mode with one or two blocks."""
    vm.sh(f"rmmod virtio_mem && insmod /lib/modules/virtio_mem.ko {parameters}")


@pytest.mark.base(fails="the system paid for the memory map")
@pytest.mark.parametrize("mode", ["", "force_bbm=1", "force_bbm=1 bbm_block_size=268435456"])
def test_a_small_guest_grows_out_of_what_it_is_given(boot: Boot, mode: str) -> None:
    vm = boot(vmem=["8G"], memory="256M", cmdline=HOSTED)
    load(vm, mode)
    before = vm.snapshot()
    for size in ["4G", "8G", "1G", "2G", "0"]:
        vm.resize(size)
        plugged = parse_size(size)
        grown = vm.meminfo()["MemTotal"] - before.total
        assert grown == plugged - plugged // MAP, "the system paid for the memory map"
        assert vm.zoneinfo()["0/Movable"].present == plugged // PAGE
        assert len(vm.iomem().under("virtio0")) == bool(plugged)
    assert vm.snapshot() == before


@pytest.mark.base("same")
def test_every_size_is_reached_up_and_down(boot: Boot) -> None:
    vm = boot(vmem=["2G"], memory="256M", cmdline=HOSTED)
    before = vm.snapshot()
    sizes = ["2M", "4M", "126M", "128M", "130M", "132M", "258M", "1G", "1026M", "2G"]
    for size in sizes + sizes[::-1] + ["2G", "2M", "6M", "0"]:
        vm.resize(size)  # waits until the device has exactly that
    assert vm.snapshot() == before


@pytest.mark.base("same")
def test_a_little_memory_is_of_use(boot: Boot) -> None:
    vm = boot(vmem=["2G"], memory="256M", cmdline=HOSTED)
    before = vm.meminfo()["MemTotal"]
    for size in ["2M", "4M", "128M", "130M"]:
        vm.resize(size)
        # Less than a block: not worth a memory map of its own, which would be all of it at first.
        assert vm.meminfo()["MemTotal"] - before == parse_size(size)


@pytest.mark.base("same")
def test_nothing_changes_while_the_parameter_is_off(boot: Boot) -> None:
    vm = boot(vmem=["2G"], memory="256M", cmdline="memhp_default_state=online_movable")
    before = vm.meminfo()["MemTotal"]
    for size in ["2M", "130M", "1G", "2G", "1026M"]:
        vm.resize(size)
        assert vm.meminfo()["MemTotal"] - before == parse_size(size)
    assert "memory map" not in vm.sh("dmesg")
