# SPDX-License-Identifier: GPL-2.0
"""Guests that die or outlive their welcome: the harness itself, on real guests."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Boot
from vmtest.cmdline import MOVABLE
from vmtest.console import CRASHED
from vmtest.errors import Failure
from vmtest.paths import ROOT
from vmtest.vmem import WORK
from vmtest.wait import wait_until

# Boots a guest, tells its process id, and would stay for ever.
HARNESS = """
import sys, threading
from vmtest.qemu import Machine
from vmtest.vm import VM
with VM(f"killed-{sys.argv[1]}", Machine(sys.argv[1])) as vm:
    print(vm.pid, flush=True)
    threading.Event().wait()
"""


def command_line(pid: int) -> str:
    """Empty for a process that has ended, whether or not anybody collected it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""


@pytest.mark.usefixtures("plain")
@pytest.mark.base("same")
def test_a_guest_dies_with_its_harness(kernel: str) -> None:
    command = [sys.executable, "-c", HARNESS, kernel]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        guest = int(harness.stdout.readline())
        try:
            assert "qemu" in command_line(guest)
        finally:
            harness.kill()
    wait_until(lambda: command_line(guest) == "", lambda: f"process {guest} still runs")


@pytest.mark.architectures("x86_64")  # an NMI
@pytest.mark.base("same")
@pytest.mark.complains(CRASHED)
def test_a_guest_that_panics_is_reported_with_its_last_words(boot: Boot) -> None:
    vm = boot()
    vm.crash.arm()
    vm.crash.strike()
    with pytest.raises(Failure, match="(?s)QEMU closed the guest channel.*Kernel panic"):
        vm.sh("sleep 30")


@pytest.mark.base("same")
def test_a_command_has_a_deadline(boot: Boot) -> None:
    vm = boot()
    with pytest.raises(Failure, match="did not answer in time: sleep 600"):
        vm.run("sleep 600", seconds=0.5)
    with pytest.raises(Failure, match="still at it: sleep 600"):
        vm.sh("true")


@pytest.mark.base("same")
def test_large_output_arrives_whole(boot: Boot) -> None:
    vm = boot()
    lines = vm.sh("seq 300000").split()
    assert len(lines) == 300000 and lines[-1] == "300000"


@pytest.mark.base("same")
def test_the_work_of_virtio_mem_is_seen(boot: Boot) -> None:
    """By the name of the task that runs it. With another name settle() would wait for nothing."""
    vm = boot(vmem=["4G"], cmdline=MOVABLE)
    vm.sh(f"{{ until grep -qs '+{WORK}$' /proc/[0-9]*/comm; do :; done; touch seen; }} >/dev/null 2>&1 &")
    for _ in range(20):
        vm.vmem[0].resize("4G")
        vm.vmem[0].resize("0")
        if vm.run("[ -e seen ]").status == 0:
            return
    pytest.fail(f"the driver has worked, and no task was named {WORK}")
