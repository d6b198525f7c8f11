# SPDX-License-Identifier: GPL-2.0
"""Guests with memory plugged are saved and restored, migrated and reset, at rest and while they change their size."""

import itertools

import pytest

from conftest import Boot, Move
from vmtest.cmdline import HOSTED, MOVABLE
from vmtest.units import parse_size
from vmtest.vm import VM
from vmtest.wait import wait_until

NOT_HOSTED = ""
SUM = "sha256sum data"


def with_data(boot: Boot, hosted: str) -> VM:
    """A guest with 1 GiB plugged, some of it in use."""
    vm = boot(vmem=["2G"], cmdline=f"{MOVABLE} {hosted}")
    vm.vmem[0].resize("1G")
    vm.sh("mount -o remount,size=1G /run; dd if=/dev/urandom of=data bs=1M count=64 2>/dev/null")
    return vm


# Migrated live, or saved and restored; its maps hosted or not; at rest, growing and shrinking.
SOME = [(HOSTED, False, "2G"), (NOT_HOSTED, True, "256M")]
ALL = itertools.product((NOT_HOSTED, HOSTED), (False, True), ("1G", "2G", "256M"))
# QEMU 10 for s390x dies when it migrates a guest: tlb_reset_dirty_range_all: Assertion `block == ...' failed.
LIVE = pytest.mark.architectures("x86_64", "arm64")
CASES = [
    pytest.param(*each, marks=[*([] if each in SOME else [pytest.mark.long]), *([] if each[1] else [LIVE])])
    for each in ALL
]


@pytest.mark.base("same")
@pytest.mark.parametrize(("hosted", "saved", "wanted"), CASES)
def test_a_guest_goes_on_elsewhere(boot: Boot, move: Move, hosted: str, saved: bool, wanted: str) -> None:
    vm = with_data(boot, hosted)
    content = vm.sh(SUM)
    vm.vmem[0].request(wanted)
    there = move(vm, saved)
    there.vmem[0].resize(wanted)
    assert there.sh(SUM) == content
    there.vmem[0].resize("2G")
    assert there.sh(f"{SUM} && rm data") == content
    there.vmem[0].resize("0")


@pytest.mark.base("same")
@pytest.mark.parametrize("hosted", [pytest.param(NOT_HOSTED, marks=pytest.mark.long), HOSTED])
def test_a_guest_that_is_reset_gets_its_memory_again(boot: Boot, hosted: str) -> None:
    vm = with_data(boot, hosted)
    vm.qemu("set-action", reboot="reset")
    vm.qemu("system_reset")
    vm.wait_booted()
    vm.driver.load()
    wait_until(lambda: vm.vmem[0].covered() == parse_size("1G"), lambda: f"it has {vm.vmem[0].covered()} bytes again")
    vm.vmem[0].resize("2G")
    vm.vmem[0].resize("0")


def sleep(vm: VM, state: str) -> None:
    """Tells a guest to. Its agent's device may not answer any more, so it says on its console what became of it, and of
    its data."""
    said = f"echo slept: $? >/dev/kmsg; {SUM} >/dev/kmsg"
    vm.sh(f"{{ sleep 1; echo {state} >/sys/power/state; {said}; }} >/dev/null 2>&1 &")


@pytest.mark.architectures("x86_64")
@pytest.mark.base("same")
def test_a_guest_that_slept_gets_what_was_asked_for_meanwhile(boot: Boot) -> None:
    vm = with_data(boot, NOT_HOSTED)
    # Its devices stop for 5 s.
    vm.sh("echo devices >/sys/power/pm_test")
    sleep(vm, "freeze")
    wait_until(lambda: "PM: suspend entry" in vm.console(), lambda: f"it stays awake:\n{vm.last_words()}")
    vm.vmem[0].request("2G")
    wait_until(lambda: "slept: 0" in vm.console(), lambda: f"it does not wake up:\n{vm.last_words()}")
    wait_plugged(vm, "2G")


def asleep(vm: VM) -> bool:
    return bool(vm.qemu("query-status")["status"] == "suspended")


@pytest.mark.architectures("x86_64")
@pytest.mark.base("same")
def test_a_guest_sleeps_only_where_its_memory_is_kept(boot: Boot) -> None:
    vm = with_data(boot, NOT_HOSTED)
    content = vm.sh(SUM)
    # VIRTIO_MEM_F_PERSISTENT_SUSPEND, which newer versions of QEMU have.
    kept = vm.sh("cut -c 3 /sys/bus/virtio/devices/virtio0/features") == "1"
    sleep(vm, "mem")
    if kept:
        wait_until(lambda: asleep(vm), lambda: f"it stays awake:\n{vm.last_words()}")
        vm.vmem[0].request("2G")
        vm.qemu("system_wakeup")
    wait_until(lambda: "slept: " in vm.console(), lambda: f"it does not wake up:\n{vm.last_words()}")
    assert kept == ("slept: 0" in vm.console())
    assert kept != ("suspending with plugged memory is not supported" in vm.console())
    wait_until(lambda: content in vm.console(), lambda: f"its data are not what they were:\n{vm.last_words()}")
    vm.vmem[0].request("2G")
    wait_plugged(vm, "2G")


def wait_plugged(vm: VM, size: str) -> None:
    """As the device says."""
    wait_until(lambda: vm.vmem[0].plugged() == parse_size(size), lambda: f"{vm.vmem[0].plugged()} bytes are plugged")
