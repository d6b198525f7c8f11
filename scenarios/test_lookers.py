# SPDX-License-Identifier: GPL-2.0
"""Nobody looks at a memory map that is gone: from a page frame number to a struct page, while memory goes."""

import functools
import random
import re
from typing import Any, Callable

import pytest

from conftest import Boot
from vmtest import elf, kmem, looker
from vmtest.cmdline import HOSTED, MOVABLE, movable
from vmtest.console import Complaint
from vmtest.flavours import architecture, flavour
from vmtest.linux import MEMORY
from vmtest.units import GIB, MIB, PAGE
from vmtest.vm import VM
from vmtest.vmem import BBM

# Where all memory is that can go: in shell commands, $START.
STARTS = {"x86_64": 4 * GIB, "arm64": 2 * GIB, "s390x": 512 * MIB}
X86 = pytest.mark.architectures("x86_64")
# Each probe that is hit takes so long where QEMU emulates s390x that no command ends.
PROBES = pytest.mark.architectures("x86_64", "arm64")

Goes = tuple[Callable[[], Any], Callable[[], Any]]  # asks for memory to go, and waits until it is gone

# Half of each pageblock is in use, so that there is something to migrate, and room for it.
FILES = """
    mkdir -p /files && mount -t tmpfs -o size=90% tmpfs /files
    for i in $(seq 60); do dd if=/dev/zero of=/files/$i bs=1M count=8 2>/dev/null; done
    for i in $(seq 1 2 60); do rm /files/$i; done
"""
AT_LAST = 600.0  # seconds for one of these, with KASAN on a busy host; nobody waits for that where all is well
COMPACT = "echo 1 >/proc/sys/vm/compact_memory"
KPF_NOPAGE = 1 << 20  # Documentation/admin-guide/mm/pagemap.rst
PAGE_IDLE = "/sys/kernel/mm/page_idle/bitmap"

# Who looks, by a shell command, at memory that can go: the task's name, and the functions in which it looks pages up.
A_WORD_EACH = "of=/dev/null bs=64K skip=$((START >> 25))"
LOOKERS = {
    "kpageflags": (f"dd if=/proc/kpageflags {A_WORD_EACH}", "dd", ["get_kpage_info", "kpage_read"]),
    "kpagecount": (f"dd if=/proc/kpagecount {A_WORD_EACH}", "dd", ["get_kpage_info", "kpage_read"]),
    "page_idle": (f"dd if={PAGE_IDLE} of=/dev/null bs=4K skip=$((START >> 27))", "dd", ["page_idle_get_folio"]),
    "compaction": (COMPACT, "sh", ["pageblock_pfn_to_page", "__pageblock_pfn_to_page"]),
}

DIES = Complaint(
    "[Uu]nable to handle|BUG: |Oops|Kernel panic",
    "a task goes on with a memory map that is gone",
    "the base has 05-lookers",
)

# Those that look without RCU, since memory cannot go meanwhile.
HOLD_ON = {
    "find_smallest_section_pfn": "mem_hotplug_lock",
    "find_biggest_section_pfn": "mem_hotplug_lock",
    "pfn_is_in_zone": "mem_hotplug_lock",
    "auto_movable_zone_for_pfn": "mem_hotplug_lock",
    "remove_pfn_range_from_zone": "mem_hotplug_lock",
    "try_offline_memory_block": "device_hotplug_lock",
    "memory_failure": "mf_mutex, which memory that goes offline takes",
    "virtio_mem_remove_free_memory": "hotplug_mutex, which memory that goes offline takes",
    "virtio_mem_mb_is_free": "the same",
    "virtio_mem_sbm_unplug_free_mbs": "the same",
    "virtio_mem_sbm_unplug_any_sb": "the same, compiled into its caller",
    "start_isolate_page_range": "asks whether there is an online page",
    "isolate_single_pageblock": "its own isolated pageblock",
    "undo_isolate_page_range": "its own isolated pageblocks",
    "test_pages_isolated": "its own isolated pageblocks",
}


def grown(boot: Boot, size: str, cmdline: str = MOVABLE) -> VM:
    vm = boot(vmem=["4G"], memory="512M", cmdline=cmdline)
    vm.vmem[0].resize(size)
    looker.load(vm)
    return vm


def where(vm: VM) -> int:
    return STARTS[flavour(vm.machine.kernel).architecture]


def at(vm: VM, look: str) -> str:
    """The shell command `look`, which is told where memory is that can go."""
    return f"START={where(vm)}; {look}"


def kcore(vm: VM) -> str:
    """Reads memory that can go in /proc/kcore."""
    header = bytes.fromhex(vm.sh("head -c 8192 /proc/kcore | hexdump -v -e '1/1 \"%02x\"'"))
    offset = elf.offset(elf.loads(header), where(vm), 4 * MIB)
    return f"dd if=/proc/kcore of=/dev/null bs=4K skip={offset // PAGE} count=1000"


DAMON = f"""
    cd /sys/kernel/mm/damon/admin/kdamonds && echo 1 >nr_kdamonds && cd 0
    echo 1 >contexts/nr_contexts && echo paddr >contexts/0/operations && echo 1 >contexts/0/targets/nr_targets
    echo 1 >contexts/0/targets/0/regions/nr_regions && cd contexts/0/targets/0/regions/0
    echo $START >start && echo $((START + (1 << 30))) >end && cd ../../../../../..
    echo on >state; until grep -q damon_get_folio {looker.DIRECTORY}/sites; do usleep 10000; done; echo off >state; cd /
"""
# With a filter that no page passes.
HWPOISON = """
    insmod /lib/modules/hwpoison-inject.ko && cd /sys/kernel/debug/hwpoison
    echo $((1 << 20)) >corrupt-filter-flags-mask && echo $((1 << 20)) >corrupt-filter-flags-value
    echo 1 >corrupt-filter-enable"""
INJECTOR = f"{HWPOISON} && echo $((START >> 12)) >corrupt-pfn; cd /"
# Compaction for huge pages, in vain again and again, so that it forgets which pageblocks it need not try: not as often
# with KASAN.
DIRECT_COMPACTION = """
    cd /files; rm -f *; free=$(awk '/^MemFree/ { print int($2 / 1024) }' /proc/meminfo); fragment $((free - 100))
    end=$(($(date +%s) + 300))
    for i in $(seq 200); do echo 600 >/proc/sys/vm/nr_hugepages; [ $(date +%s) -lt $end ] || break; done
    echo 0 >/proc/sys/vm/nr_hugepages; cd /
"""
# What else looks pages up on demand, and a pattern for the function that does, or has that compiled into it.
AT_ONCE = {
    DIRECT_COMPACTION: "__reset_isolation_pfn",
    "cat /proc/pagetypeinfo >/dev/null": "pagetypeinfo_show",
    "head -c 1000000 /sys/kernel/debug/page_owner >/dev/null": "read_page_owner",
    "echo 1 >/sys/kernel/debug/split_huge_pages": "split_huge_pages",
    DAMON: "damon_get_folio",
    INJECTOR: "hwpoison_inject",
    "cd /sys/kernel/debug/hwpoison; echo 0 >corrupt-filter-enable; poison corrupt-pfn; cd /":
        "smaps_pte|leaf_entry_page",
}


@PROBES
@pytest.mark.base(fails="look outside of RCU")
def test_all_look_under_rcu(boot: Boot) -> None:
    vm = grown(boot, "1G", f"{MOVABLE} page_owner=on")
    vm.sh(FILES, AT_LAST)
    looker.forget(vm)
    for look, _, _ in LOOKERS.values():
        vm.sh(f"{at(vm, look)} 2>/dev/null", AT_LAST)
    vm.vmem[0].resize("512M")
    at_once = AT_ONCE | {kcore(vm): "kcore"}
    for look in at_once:
        vm.sh(at(vm, look), AT_LAST)
    seen = looker.sites(vm)
    naked = [site for site in seen if site.naked and site.function not in HOLD_ON]
    functions = [site.function for site in seen]
    blind = [
        needed for needed in ["pageblock_pfn_to_page", *at_once.values()]
        if not any(re.search(needed, function) for function in functions)
    ]
    assert not naked and not blind, f"these look outside of RCU: {naked}, and these did not look: {blind}"


@PROBES
@pytest.mark.base("absent")
def test_one_grace_period_for_many_blocks(boot: Boot) -> None:
    """Expedited, as a resize may take thousands of blocks: at most 2 GiB of them at once."""
    vm = grown(boot, "4G")
    looker.count_calls(vm, "synchronize_rcu_expedited")
    vm.vmem[0].resize("1G")
    # 5 if all are free: 1, 2, 4, 8 and 9 blocks. One with a page in use takes some of its own.
    assert looker.calls(vm) < 24, "a grace period for each of 24 memory blocks"


def page_flags(vm: VM, address: int) -> int:
    """What /proc/kpageflags says."""
    read = f"dd if=/proc/kpageflags bs=8 skip={address // PAGE} count=1 2>/dev/null"
    word = vm.run(read).output
    assert len(word) == 8
    return int.from_bytes(word, architecture(vm.machine.kernel).byteorder)


@pytest.mark.base(fails="offline memory looks like a page without flags")
def test_offline_memory_has_no_page(boot: Boot) -> None:
    vm = boot(vmem=["4G"], cmdline=MOVABLE)
    vm.vmem[0].resize("256M")
    (ram,) = vm.iomem().system_ram("virtio_mem")
    assert not page_flags(vm, ram.start) & KPF_NOPAGE
    vm.set_state("offline", vm.block_at(ram.start))
    assert page_flags(vm, ram.start) & KPF_NOPAGE, "offline memory looks like a page without flags"


# /proc/kpagecount is the same code as kpageflags.
@PROBES
@pytest.mark.base(fails="memory is gone while somebody looks", may_complain=DIES)
@pytest.mark.parametrize(
    "who", [pytest.param(who, marks=[pytest.mark.long] if who == "kpagecount" else []) for who in LOOKERS]
)
def test_memory_stays_while_somebody_looks(boot: Boot, who: str) -> None:
    vm = grown(boot, "1G")
    vm.sh(FILES)

    def back() -> None:
        vm.vmem[0].resize("896M")
        vm.vmem[0].resize("1G")

    look, task, functions = LOOKERS[who]
    request = functools.partial(vm.vmem[0].request, "896M")
    results = looker.hold_while_memory_goes(vm, at(vm, look), task, functions, request, back)
    assert results == ["waited"] * len(results), f"memory is gone while somebody looks: {results}"
    vm.sh("umount /files")
    vm.vmem[0].resize("0")


def take_offline(vm: VM, address: int) -> Goes:
    """A memory block, by user space, which has it initialized anew as well."""
    state = vm.state_file(vm.block_at(address))
    return (
        lambda: vm.sh(f"{{ echo offline >{state}; echo online_movable >{state}; touch anew; }} >/dev/null 2>&1 &"),
        lambda: vm.sh("until [ -e anew ]; do usleep 9999; done; rm anew"),
    )


def movable_boot_memory(boot: Boot) -> tuple[VM, list[int]]:
    """A guest and the addresses of memory blocks that it booted with and that can go."""
    vm = boot(memory="4G", cmdline=movable("2G"))
    names = vm.sh(f"cd {MEMORY} && grep -l Movable memory*/valid_zones").split()
    blocks = sorted(int(name.split("/")[0].removeprefix("memory")) for name in names)
    return vm, [block * vm.block_size for block in blocks]


def boot_memory(boot: Boot) -> tuple[VM, Goes]:
    vm, addresses = movable_boot_memory(boot)
    return vm, take_offline(vm, addresses[0])


def persistent_memory(boot: Boot) -> tuple[VM, Goes]:
    vm = boot(memory="4G", cmdline=f"{kmem.PERSISTENT} {MOVABLE}")
    vm.sh(kmem.MAKE_DAX_DEVICE)
    kmem.hand_over(vm)
    kmem.take_offline(vm, keep=1)

    def back() -> None:
        vm.sh("until [ -e /gone ]; do usleep 9999; done; rm /gone")
        kmem.hand_over(vm)
        kmem.take_offline(vm, keep=1)

    return vm, (lambda: kmem.start_taking_back(vm), back)


def dimm(boot: Boot) -> tuple[VM, Goes]:
    vm = boot(dimms=True, cmdline=MOVABLE)
    vm.dimms.add("dimm0", "256M")

    def back() -> None:
        vm.dimms.wait_gone("dimm0")
        vm.dimms.add("dimm0", "256M")

    return vm, (lambda: vm.dimms.request_removal("dimm0"), back)


def big_block(boot: Boot) -> tuple[VM, Goes]:
    vm = boot(vmem=["1G"], cmdline=MOVABLE)
    vm.driver.reload(BBM)
    vm.vmem[0].resize("1G")

    def back() -> None:
        vm.vmem[0].resize("896M")
        vm.vmem[0].resize("1G")

    return vm, (lambda: vm.vmem[0].request("896M"), back)


@PROBES
@pytest.mark.base(fails="memory is gone while somebody looks", may_complain=DIES)
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(boot_memory, marks=X86),
        pytest.param(persistent_memory, marks=X86),
        dimm,
        big_block,
    ],
)
def test_memory_stays_however_it_goes(boot: Boot, way: Callable[[Boot], tuple[VM, Goes]]) -> None:
    vm, goes = way(boot)
    looker.load(vm)
    look, task, functions = LOOKERS["kpageflags"]
    results = looker.hold_while_memory_goes(vm, at(vm, look), task, functions, *goes)
    assert results == ["waited"] * len(results), f"memory is gone while somebody looks: {results}"


# Who looks at a page with mf_mutex held, and a shell command that has it do so.
HANDLERS = {
    "unpoison_memory": "echo $((page >> 12)) >/sys/kernel/debug/hwpoison/unpoison-pfn",
    "soft_offline_page": f"echo $page >{MEMORY}/soft_offline_page",
    "memory_failure": f"echo $page >{MEMORY}/hard_offline_page",
}


def take_one_offline(vm: VM, addresses: list[int]) -> Goes:
    """The first of these memory blocks, or after a page of it has failed and it has gone offline, from where no such
    block comes back, the next. The guest's file `page` has the address of a page in it."""
    left = list(addresses)

    def choose() -> None:
        vm.sh(f"echo {left[0] + vm.block_size // 2} >next && mv next page")

    def back() -> None:
        take_offline(vm, left[0])[1]()
        if vm.sh(f"cat {vm.state_file(vm.block_at(left[0]))}").strip() == "offline":
            assert vm.meminfo()["HardwareCorrupted"], "a memory block without pages that failed does not come back"
            left.pop(0)
            assert left, "each memory block has a page that failed"
            choose()

    choose()
    return (lambda: take_offline(vm, left[0])[0]()), back


@X86  # where boot memory can go
@pytest.mark.base(fails="memory is gone while its failure is handled", may_complain=DIES)
@pytest.mark.parametrize("handler", HANDLERS)
def test_memory_stays_while_its_failure_is_handled(boot: Boot, handler: str) -> None:
    """Memory that goes offline takes the mutex, or fails."""
    vm, addresses = movable_boot_memory(boot)
    looker.load(vm)
    # So that it is soon done with the page: who takes one out waits for memory that goes, and holds the mutex.
    vm.sh(f"{HWPOISON} && echo 0 >/proc/sys/vm/enable_soft_offline")
    look = f"page=$(cat page); {HANDLERS[handler]} 2>/dev/null; usleep 20000"
    results = looker.hold_while_memory_goes(vm, look, "sh", [handler], *take_one_offline(vm, addresses))
    assert results == ["waited"], f"memory is gone while its failure is handled: {results}"


TAKEN = Complaint(
    "kernel BUG at .*mm/page_alloc.c|Oops|Kernel panic",
    "free pages are gone that were there a moment ago",
    "the base has 05-lookers/0004",
)


@PROBES
@pytest.mark.long  # by luck: it takes a scanner that comes by
@pytest.mark.base(fails="free pages of an isolated pageblock are taken", complains=TAKEN)
def test_compaction_leaves_isolated_pages_alone(boot: Boot) -> None:
    """A scanner that has found a pageblock suitable takes none of its pages after it was isolated."""
    vm = boot(vmem=["4G"], memory="512M", cmdline=MOVABLE)
    vm.vmem[0].resize("512M")
    looker.load(vm)
    state = vm.state_file(vm.block_at(vm.iomem().system_ram("virtio_mem")[-1].end))
    vm.sh("mkdir /files && mount -t tmpfs -o size=90% tmpfs /files")
    survives = looker.hold_scanner(
        vm,
        f"cd /files; fragment 60 >/dev/null; cd /; {COMPACT}",
        lambda: vm.sh(f"{{ taskset 1 sh -c 'echo offline >{state}'; touch done; }} >/dev/null 2>&1 &"),
        lambda: vm.sh(f"until [ -e done ]; do usleep 9999; done; rm done; echo online_movable >{state} || true"),
    )
    assert survives, "free pages of an isolated pageblock are taken"
    vm.vmem[0].resize("0")


@PROBES
@pytest.mark.base("absent")
def test_adding_memory_compacts(boot: Boot) -> None:
    """The memory map that is added takes pages that are not there before the task that adds it has compacted memory."""
    vm = boot(vmem=["4G"], memory="512M", cmdline=MOVABLE)
    looker.load(vm)
    free = vm.meminfo()["MemFree"] >> 20
    vm.sh("mkdir /files && mount -t tmpfs -o size=100% tmpfs /files")
    vm.sh(f"cd /files; fragment {free - 30}")
    looker.forget(vm)
    vm.vmem[0].resize("4G")
    seen = {site.function for site in looker.sites(vm) if site.task.startswith("kworker")}
    assert "pageblock_pfn_to_page" in seen, f"nothing was compacted: {seen}"
    vm.sh("umount /files")
    vm.vmem[0].resize("0")


def race(vm: VM, look: str, resizes: int, seed: int) -> None:
    """Resizes at random while two loops look and files come and go."""
    chosen = random.Random(seed)
    vm.sh("mkdir -p /files && mount -t tmpfs -o size=90% tmpfs /files")
    looker.start(vm, at(vm, look))
    vm.sh(
        "{ while [ ! -e enough ]; do for i in $(seq 60); do dd if=/dev/zero of=/files/$i bs=1M count=8; done"
        "; for i in $(seq 1 2 60) $(seq 2 2 60); do rm -f /files/$i; done; done; touch files_end; } >/dev/null 2>&1 &"
    )
    for _ in range(resizes):
        vm.vmem[0].request(f"{chosen.randrange(256, 2048, 4)}M")
        vm.sh(f"usleep {chosen.randrange(3000000)}")
    looker.stop(vm)
    vm.sh("until [ -e files_end ]; do usleep 10000; done; umount /files")
    vm.vmem[0].resize("0")


RACES = {"compaction": COMPACT, "kpageflags": "dd if=/proc/kpageflags of=/dev/null bs=1M skip=$((START >> 29)) count=8"}


@pytest.mark.base("absent")
@pytest.mark.parametrize(
    "who, cmdline",
    [
        ("compaction", f"{MOVABLE} {HOSTED}"),
        ("kpageflags", MOVABLE),
        pytest.param("compaction", MOVABLE, marks=pytest.mark.long),
        pytest.param("kpageflags", f"{MOVABLE} {HOSTED}", marks=pytest.mark.long),
    ],
)
def test_a_short_race(boot: Boot, who: str, cmdline: str) -> None:
    race(boot(vmem=["4G"], memory="512M", cmdline=cmdline), RACES[who], 12, seed=1)


@pytest.mark.long
@pytest.mark.base("absent")
@pytest.mark.parametrize("cmdline", [MOVABLE, f"{MOVABLE} {HOSTED}"])
def test_half_an_hour_of_races(boot: Boot, cmdline: str) -> None:
    """All that is raced against, in one guest."""
    race(boot(vmem=["4G"], memory="512M", cmdline=cmdline), "; ".join(RACES.values()), 1200, seed=3)


# The base is to die within so many resizes, of 1.5 s on average; it took 11 at most.
@pytest.mark.long
@pytest.mark.base(fails="QEMU closed the guest channel", complains=DIES)
@pytest.mark.parametrize("who", RACES)
def test_a_long_race(boot: Boot, who: str) -> None:
    race(boot(vmem=["4G"], memory="512M", cmdline=MOVABLE), RACES[who], 100, seed=2)
