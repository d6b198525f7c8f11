# SPDX-License-Identifier: GPL-2.0
"""Failures on purpose: allocations in the guest, memory notifiers that veto, a device that refuses."""

import contextlib
import socket
from pathlib import Path
from typing import Iterator

from vmtest.linux import Linux
from vmtest.underqemu import UnderQemu
from vmtest.units import parse_size
from vmtest.vmem import Vmem
from vmtest.wait import wait_until

NOBODY = "migration.sock"
DEBUG = "/sys/kernel/debug"
NOTIFIER = f"{DEBUG}/notifier-error-inject/memory/actions"

# What can fail to be allocated: pages and slab objects, whatever the caller could wait for.
ALLOCATIONS = {
    "failslab": "echo N >ignore-gfp-wait",
    "fail_page_alloc": "echo N >ignore-gfp-wait; echo N >ignore-gfp-highmem; echo 0 >min-order",
}


def load_injectors(vm: Linux, priority: int = 0) -> None:
    """`priority` above 0: memory notifiers that veto do so before virtio-mem is asked."""
    vm.sh(
        "cd /lib/modules && insmod notifier-error-inject.ko"
        f" && insmod memory-notifier-error-inject.ko priority={priority}"
    )


@contextlib.contextmanager
def vetoed(vm: Linux, action: str, errno: int) -> Iterator[None]:
    """A memory notifier says no: `action` is MEM_GOING_ONLINE or MEM_GOING_OFFLINE."""
    vm.sh(f"echo -{errno} >{NOTIFIER}/{action}/error")
    yield
    vm.sh(f"echo 0 >{NOTIFIER}/{action}/error")


@contextlib.contextmanager
def failing_allocation(vm: Linux, kind: str, after: int, below: str = "") -> Iterator[None]:
    """Of the allocations with the driver on their stack, or the function `below`, one in `after`
    fails, and only once.

    Left out are interrupts, below which the stack goes on: their allocations would count as well.
    """
    function = "set -- $(grep -A 1 ' {}$' /proc/kallsyms); echo 0x$1 >require-start; echo 0x$4 >require-end"
    driver = (
        "set -- $(grep '^virtio_mem ' /proc/modules); echo $6 >require-start"
        "; printf '0x%x' $(($6 + $2)) >require-end"
    )
    required = function.format(below) if below else driver
    # All tasks, by way of kthreadd those to come as well: the filter leaves out interrupts.
    tasks = "for f in /proc/[0-9]*/make-it-fail; do echo 1 >$f; done 2>/dev/null; echo Y >task-filter"
    vm.sh(
        f"cd {DEBUG}/{kind} && {ALLOCATIONS[kind]}; echo 0 >verbose; echo 32 >stacktrace-depth"
        f"; {required}; {tasks}"
        f"; echo 100 >probability; echo {after} >interval; echo 1 >times"
    )
    yield
    vm.sh(f"echo 0 >{DEBUG}/{kind}/times")


def failed(vm: Linux, kind: str) -> bool:
    """Whether the allocation has failed by now."""
    return vm.sh(f"cat {DEBUG}/{kind}/times") == "0"


@contextlib.contextmanager
def refusing(vm: UnderQemu) -> Iterator[None]:
    """The devices refuse all requests: QEMU says that it is busy while it migrates a guest."""

    def status() -> str:
        return str(vm.qemu("query-migrate").get("status"))

    with socket.socket(socket.AF_UNIX) as nobody, contextlib.chdir(vm.directory):
        Path(NOBODY).unlink(missing_ok=True)
        nobody.bind(NOBODY)
        nobody.listen()
        # Nobody reads what is sent there, so that the migration does not get anywhere.
        vm.qemu("migrate", uri=f"unix:{NOBODY}")
        wait_until(lambda: status() == "active", lambda: f"migration is {status()}")
        Path(NOBODY).unlink()
        yield
        vm.qemu("migrate_cancel")
        wait_until(lambda: status() == "cancelled", lambda: f"migration is {status()}")


def poke(device: Vmem, size: str) -> None:
    """Asks for `size` once more: the driver tries again at once, and not in a minute."""
    device.request("4M" if size == "0" else str(parse_size(size) - parse_size("4M")))
    device.request(size)
