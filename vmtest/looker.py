# SPDX-License-Identifier: GPL-2.0
"""Tasks that look at struct pages by their number, in a guest with the module guest/looker."""

import re
import shlex
from dataclasses import dataclass
from typing import Any, Callable, Iterable

from vmtest import module
from vmtest.errors import Failure
from vmtest.flavours import is_base
from vmtest.linux import Linux
from vmtest.wait import wait_until

TRIES, OFTEN, SCANS = 20, 4, 400
GONE, DIES = "gone", "gone, and the kernel dies of it"
MODULE, DIRECTORY = "guest/looker", "/sys/kernel/debug/looker"


@dataclass(frozen=True)
class Site:
    """A place in the kernel that has looked pages up."""

    function: str
    address: str
    task: str
    looks: int
    naked: int  # of these, outside of an RCU read-side critical section


def load(vm: Linux) -> None:
    vm.sh("cd /proc/sys/debug && [ ! -e kprobes-optimization ] || echo 0 >kprobes-optimization")
    module.load(vm, MODULE)


def sites(vm: Linux) -> list[Site]:
    text = vm.sh(f"cat {DIRECTORY}/sites")
    if "too many" in text:
        raise Failure(f"there are more places that look than {MODULE} has room for")
    found = re.findall(r"(\S+)(?: \[\w+\])?\+(0x\w+) (\S+) (\d+) (\d+)", text)
    # Of a function that was compiled apart for some of its callers, "name.constprop.0", the name.
    return [
        Site(name.split(".")[0], address, task, int(looks), int(naked)) for name, address, task, looks, naked in found
    ]


def forget(vm: Linux) -> None:
    vm.sh(f": >{DIRECTORY}/sites")


def count_calls(vm: Linux, function: str) -> None:
    """From now on, of this function and no other."""
    vm.sh(f"echo {function} >{DIRECTORY}/calls")


def calls(vm: Linux) -> int:
    return int(vm.sh(f"cat {DIRECTORY}/calls"))


def start(vm: Linux, look: str) -> None:
    """Has a shell command look again and again, on each CPU, until stop()."""
    script = f"touch looking$0; while [ ! -e enough ]; do {look}; done; rm looking$0"
    # From its first look on it stays there: a task that another CPU takes goes on.
    vm.sh(f"rm -f enough; for mask in 1 2; do taskset $mask sh -c {shlex.quote(script)} $mask >/dev/null 2>&1 & done")


def stop(vm: Linux) -> None:
    vm.sh("touch enough; while [ -e looking1 ] || [ -e looking2 ]; do usleep 10000; done")


def hold_while_memory_goes(
    vm: Linux, look: str, task: str, functions: Iterable[str], go: Callable[[], None], back: Callable[[], None]
) -> list[str]:
    """For each place in one of `functions` where `task` looks while the command `look` runs: stops it right behind the
    look at a page of a memory block that is going. What the module says of each: "waited", or GONE if the memory went
    offline meanwhile, or DIES if a task has gone on with a memory map that is gone. After these two the guest is of no
    more use. `go` asks for memory to go and does not wait, `back` waits until it is gone, and restores it."""
    forget(vm)
    start(vm, look)
    wanted = set(functions)
    found: list[Site] = []

    def seen() -> bool:
        found[:] = [site for site in sites(vm) if site.task == task and site.function in wanted]
        return bool(found)

    wait_until(seen, lambda: f"nobody looks in {wanted}; seen: {sites(vm)}", 60)
    results: list[str] = []
    for site in found:
        results.append(hold(vm, site, go, back))
        if results[-1] in (GONE, DIES):
            return results
    stop(vm)
    return results


def hold(vm: Linux, site: Site, go: Callable[[], None], back: Callable[[], None]) -> str:
    """GONE if the memory went once while the task was stopped, "waited" if it did not OFTEN times, on the base as
    often as is tried: that is to lose it. On a busy host a task may go on for too long before it stops, which does not
    count, and memory may take longer to go than a task is stopped."""

    waited, often = 0, TRIES if is_base(vm.machine.kernel) else OFTEN
    for _ in range(TRIES):
        try:
            state = hold_once(vm, f"{site.address} {site.task}", go)
            if state == GONE:
                return GONE
            back()
        except Failure:
            if not re.search("unable to handle (page fault|kernel)", vm.console(), re.I):
                raise
            return DIES
        waited += state == "waited"
        if waited == often:
            return "waited"
    raise Failure(f"{site} does not stop while it looks at memory that goes: {state}")


def hold_once(vm: Linux, whom: str, go: Callable[[], Any]) -> str:
    """What has become of it: a state of guest/looker, the last."""

    def state() -> str:
        return vm.sh(f"cat {DIRECTORY}/hold")

    vm.sh(f"echo {whom} >{DIRECTORY}/hold")
    go()
    wait_until(lambda: state() in ("waited", GONE, "missed", "idle"), lambda: f"{whom} is {state()}", 100)
    return state()


def hold_scanner(vm: Linux, look: str, go: Callable[[], Any], back: Callable[[], Any]) -> bool:
    """The command `look` has a free scanner of compaction at work on the second CPU. Stops it in a pageblock that `go`
    isolates meanwhile, on the first, until that has found the pageblock to be free. Whether the kernel survives that.
    Most of the time compaction has nothing to do when the pageblock is isolated, and no scanner comes: 60 tries were
    too few once on a busy host."""
    again = shlex.quote(f"while [ ! -e enough ]; do {look}; done")
    vm.sh(f"rm -f enough; taskset 2 sh -c {again} >/dev/null 2>&1 &")
    # On a busy host the base may be too slow to take a page before the memory map goes: it is to lose one of many.
    spared, often = 0, TRIES if is_base(vm.machine.kernel) else 1
    for _ in range(SCANS):
        try:
            state = hold_once(vm, "scanner", go)
            back()
        except Failure:
            if not re.search("kernel BUG|Oops", vm.console()):
                raise
        if re.search("kernel BUG|Oops", vm.console()):
            return False
        spared += state == GONE
        if spared == often:
            vm.sh("touch enough")
            return True
    raise Failure(f"no scanner stops in a pageblock that is isolated: {state}")
