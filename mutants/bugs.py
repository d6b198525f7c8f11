# SPDX-License-Identifier: GPL-2.0
"""The bugs that are planted, topic by topic, and which tests have to find them.

Each is a piece of the patched kernel and what is put in its place. Two are no inventions: they put back parts of the
base's kernel/resource.c.
"""

from typing import Callable, Iterator, NamedTuple

from vmtest import paths
from vmtest.errors import Failure

RESOURCE = "kernel/resource.c"


class Mutant(NamedTuple):
    bug: str
    old: str
    new: str
    file: str = RESOURCE


class Planted(NamedTuple):
    """Files of the kernel with bugs in them."""

    bug: str
    sources: dict[str, str]
    scenarios: str = ""  # which of them find it, as pytest's -k; the KUnit suite "resource" if empty
    names: tuple[str, ...] = ()  # what they have to say


# A look that is not bracketed is seen as such; without the wait nothing helps.
LOOKERS = "test_lookers and (all_look or kpageflags or boot_memory or no_page or failure or isolated) and not race"
GUARD = "guard(rcu)();"
PAGE_ALLOC = '#include "page_alloc.h"\n'
NO_SECTIONS = "#define rcu_read_lock() do {} while (0)\n#define rcu_read_unlock() do {} while (0)\n"
MEMORY_FAILURE = "mm/memory-failure.c"
OTHER_MUTEX = """
#define memory_failure_unlock() do {} while (0)
\tif (false) {"""
LOOKER_MUTANTS = [
    Mutant("removal does not wait", "\twait_for_pfn_walkers();\n\tif (!rc)", "\tif (!rc)", "mm/memory_hotplug.c"),
    Mutant("onlining does not wait", "\twait_for_pfn_walkers();\n\n\tif (zone_is_empty", "\tif (zone_is_empty",
           "mm/memory_hotplug.c"),
    Mutant("offlining does not note what to wait for", "\tnote_pfn_walkers();\n\tmemory_notify", "\tmemory_notify",
           "mm/memory_hotplug.c"),
    Mutant("kpageflags: nothing tells offline memory", "return stable_page_flags(page);",
           "return page ? stable_page_flags(page) : 0;", "fs/proc/page.c"),
    Mutant("compaction: no bracket in the reset of skip hints", f"{GUARD}\n\n\tpage = pfn_to_online_page(pfn);",
           "page = pfn_to_online_page(pfn);", "mm/compaction.c"),
    Mutant("compaction: no bracket around free pages", f"{GUARD}\n\n\t/* Pageblock boundaries */",
           "/* Pageblock boundaries */", "mm/compaction.c"),
    Mutant("compaction: no bracket in its scanners", '#include "internal.h"\n', f'#include "internal.h"\n{NO_SECTIONS}',
           "mm/compaction.c"),
    Mutant("compaction takes pages of isolated pageblocks", "if (!strict && is_migrate_isolate_page(page))",
           "if (false)", "mm/compaction.c"),
    Mutant("soft offlining looks without mf_mutex", "guard(mutex)(&mf_mutex);", ";", MEMORY_FAILURE),
    Mutant("unpoisoning looks before it takes mf_mutex", "mutex_lock(&mf_mutex);\n\n\tp = pfn_to_online_page(pfn);",
           "p = pfn_to_online_page(pfn);\n\tmutex_lock(&mf_mutex);", MEMORY_FAILURE),
    Mutant("offlining does not take mf_mutex", "\tif (!memory_failure_trylock()) {", OTHER_MUTEX,
           "mm/memory_hotplug.c"),
]
# Each look without its bracket, in one kernel, and the function that a scenario has to name for it.
BRACKETS = {
    "kpage_read": Mutant("kpageflags and its like", GUARD, ";", "fs/proc/page.c"),
    "page_idle_get_folio": Mutant("page_idle", GUARD, ";", "mm/page_idle.c"),
    "read_page_owner": Mutant("page_owner", PAGE_ALLOC, f"{PAGE_ALLOC}{NO_SECTIONS}", "mm/page_owner.c"),
    "split_huge_pages_write": Mutant("split_huge_pages", GUARD, ";", "mm/huge_memory.c"),
    "read_kcore_iter": Mutant("kcore", "scoped_guard(rcu) {", "{", "fs/proc/kcore.c"),
    "damon_get_folio": Mutant("DAMON", GUARD, ";", "mm/damon/ops-common.c"),
    "hwpoison_inject": Mutant("hwpoison-inject", GUARD, ";", "mm/hwpoison-inject.c"),
    "set_migratetype_isolate": Mutant("isolation", f"{GUARD}\n\n\tpage = pfn_to_online_page(pfn);",
                                      "page = pfn_to_online_page(pfn);", "mm/page_isolation.c"),
    # The page table lock is its bracket.
    "smaps_pte": Mutant("smaps of hwpoison entries", "pfn_to_online_page(softleaf_to_pfn(entry))",
                        "softleaf_to_page(entry)", "fs/proc/task_mmu.c"),
}
PAGETYPEINFO = {
    "pagetypeinfo_showmixedcount_print": Mutant("pagetypeinfo", f"{GUARD}\n\n", "\n", "mm/page_owner.c"),
}


CRASH = "crash_header and (is_copied or tried_again or crash_kernel_is_loaded or dimm_is_removed or comes_and_goes)"
CRASH_MUTANTS = [
    Mutant("a crash in the middle of a copy does not write it again",
           "if (smp_load_acquire(&crash_image_update.under_way))", "if (false)", "kernel/crash_core.c"),
    Mutant("a crash does not take the lock over", "\t\tif (old == KEXEC_LOCKED)\n", "\t\tif (old != KEXEC_UNLOCKED)\n",
           "kernel/crash_core.c"),
    Mutant("nobody catches up after a load", "if (READ_ONCE(crash_hp_pending))", "if (false)", "kernel/crash_core.c"),
    Mutant("an update without memory is not tried again", "if (ret == -ENOMEM)", "if (false)", "kernel/crash_core.c"),
    Mutant("removal does not update the header", "\tmem_hotplug_done();\n\n\tcrash_memory_changed();\n",
           "\tmem_hotplug_done();\n", "mm/memory_hotplug.c"),
    Mutant("adding does not update the header", "\tcrash_memory_changed();\n\n\t/* online pages", "\t/* online pages",
           "mm/memory_hotplug.c"),
]

FREE_MUTANTS = [
    Mutant("memory that is in use is taken for free", "(vm->free_only == current &&", "(false &&",
           "drivers/virtio/virtio_mem.c"),
    Mutant("memory that is in use is refused to everybody", "(vm->free_only == current &&", "(",
           "drivers/virtio/virtio_mem.c"),
]

MUTANTS = [
    Mutant("release: low part one byte too long", "res->end = start - 1;", "res->end = start;"),
    Mutant("release: high part starts one byte late", "high->start = end + 1;",
           "high->start = end + 2;"),
    Mutant("release: high part without its flags", "high->flags = res->flags;", ""),
    Mutant("release: children that move up keep their parent",
           "(*link)->parent = res->parent;", ";"),
    Mutant("release: children above stay with the low part",
           "child->parent = high;", "child->parent = res;"),
    Mutant("release: nothing below owners", "cut_child_resources(res, cut, start, end, spares);",
           "if (cut)\n\t\t\tcut_child_resources(res, cut, start, end, spares);"),
    Mutant("release: children across an end are not cut", "(cut_parent && across)", "false"),
    Mutant("release: entry leaks", "res->sibling = NULL;\n\t\tfree_resource(res);",
           "res->sibling = NULL;"),
    Mutant("release: too few spares for nested splits", "if (is_busy_system_ram(res))\n\t\t\tnr++;",
           "if (is_busy_system_ram(res) && !nr)\n\t\t\tnr++;"),
    Mutant("release: nothing is prepared", "while (count_release_spares() < nr) {", "while (false) {"),
    Mutant("merge: across gaps", " && low->end + 1 == high->start;", ";"),
    Mutant("merge: whatever the name", "low->name == high->name &&", ""),
    Mutant("merge: unasked", "(low->flags & IORESOURCE_SYSRAM_MERGEABLE) &&", ""),
    Mutant("merge: border at the upper end missed", "next->start <= last)", "next->start < last)"),
    Mutant("merge: children lost", "*tail = next->child;\n\t\tfor (child = next->child;",
           "for (child = next->child;"),
    Mutant("merge: entry leaks", "free_resource(next);", ""),
    Mutant("walk: goes on from a stale entry",
           "if (walk->last && walk->changes == resource_changes)", "if (walk->last)"),
    Mutant("walk: does not look below owners", "next_resource(p, p->end < walk->start, walk->root)",
           "next_resource(p, true, walk->root)"),
    Mutant("walk: ends one byte early", "walk->start > walk->end)", "walk->start >= walk->end)"),
    Mutant("walk: beyond its end", ".end = min(walk->end, p->end),", ".end = p->end,"),
]


# A guest that grew.
GROWN = "test_grown and not remounted and not bounce and not reaches_little and not dimm and not reported"
THP, FORK, VIRTIO_MEM = "mm/huge_memory.c", "kernel/fork.c", "drivers/virtio/virtio_mem.c"
GROWN_MUTANTS = [
    Mutant("nobody is told", "\tmemory_grew();\n\treturn 0;", "\treturn 0;", "mm/memory_hotplug.c"),
    Mutant("huge pages: the flags are cleared for good", "thp_flags_on_hold = transparent_hugepage_flags;",
           "thp_flags_on_hold = 0;", THP),
    Mutant("huge pages come with any memory", "done || !enough_memory_for_thp()", "done", THP),
    Mutant("huge pages: what was written does not stay", "thp_flags_on_hold &= ~BIT(flag);", ";", THP),
    Mutant("khugepaged is not started", "done = !start_stop_khugepaged();", ";", THP),
    Mutant("threads-max: what was written does not stay", "if (!max_threads_written && threads", "if (threads", FORK),
    Mutant("threads-max counts memory that the kernel cannot use", "threads_for_memory(nr_free_buffer_pages())",
           "threads_for_memory(totalram_pages())", FORK),
    Mutant("namespaces do not follow", "type <= UCOUNT_TIME_NAMESPACES", "type < 0", FORK),
    Mutant("maxima of users: what was written does not stay", "set_bit(type, ucount_max_written);", ";",
           "kernel/ucount.c"),
    Mutant("inotify's watches do not follow", "\tmemory_growth_notifier(inotify_growth_notifier);",
           "\t(void)inotify_growth_notifier;", "fs/notify/inotify/inotify_user.c"),
    Mutant("fanotify's marks do not follow", "\tmemory_growth_notifier(fanotify_growth_notifier);",
           "\t(void)fanotify_growth_notifier;", "fs/notify/fanotify/fanotify_user.c"),
    Mutant("epoll: what was written does not stay", "max_user_watches_written = true;", ";", "fs/eventpoll.c"),
    Mutant("virtio-mem waits for 50 s", "RETRY_TIMER_MIN_MS\t\t1000", "RETRY_TIMER_MIN_MS\t\t50000", VIRTIO_MEM),
    Mutant("virtio-mem says each time what is in use", "vm->busy_told = true;", ";", VIRTIO_MEM),
    Mutant("virtio-mem says a wrong address", ".start = PFN_PHYS(pfn),", ".start = pfn,", VIRTIO_MEM),
]


def between(source: str, first: str, last: str) -> str:
    return source[source.index(first):source.index(last)]


def base_release(patched: str, base: str) -> str:
    """The patched file with the base's release_mem_region_adjustable()."""
    first, last = "/**\n * release_mem_region_adjustable ", "#endif\t/* CONFIG_MEMORY_HOTREMOVE */"
    return patched.replace(between(patched, first, last), between(base, first, last))


def base_walks(patched: str, base: str) -> str:
    """The patched file with the base's walks."""
    last = "static int __is_ram("
    ours = between(patched, "/**\n * struct resource_walk ", last)
    theirs = between(base, "/**\n * find_next_res ", last)
    return patched.replace(ours, theirs)


def source(mutant: Mutant) -> str:
    patched = (paths.source("patched") / mutant.file).read_text()
    if patched.count(mutant.old) != 1:
        raise Failure(f"{mutant.bug}: {mutant.old!r} is not in {mutant.file} exactly once")
    return patched.replace(mutant.old, mutant.new)


def planted(mutants: list[Mutant], scenarios: str = "") -> Iterator[Planted]:
    for mutant in mutants:
        yield Planted(mutant.bug, {mutant.file: source(mutant)}, scenarios)


def looker_mutants() -> Iterator[Planted]:
    yield from planted(LOOKER_MUTANTS, LOOKERS)
    for those in (BRACKETS, PAGETYPEINFO):
        sources = {mutant.file: source(mutant) for mutant in those.values()}
        bug = "no bracket: " + ", ".join(mutant.bug for mutant in those.values())
        yield Planted(bug, sources, "test_all_look", tuple(those))


def resource_mutants() -> Iterator[Planted]:
    patched = (paths.source("patched") / RESOURCE).read_text()
    base = (paths.source("base") / RESOURCE).read_text()
    yield Planted("the base's own release", {RESOURCE: base_release(patched, base)})
    yield Planted("the base's own walks", {RESOURCE: base_walks(patched, base)})
    yield from planted(MUTANTS)


TOPICS: dict[str, Callable[[], Iterator[Planted]]] = {
    "05-lookers": looker_mutants,
    "10-resource": resource_mutants,
    "30-contiguous": lambda: planted(FREE_MUTANTS, "test_kunit"),
    "40-crash": lambda: planted(CRASH_MUTANTS, CRASH),
    "70-grown": lambda: planted(GROWN_MUTANTS, GROWN),
}
