# SPDX-License-Identifier: GPL-2.0
"""A console that complains is noticed, and one that does not is not."""

import pytest

import recorded
from vmtest import console

PANIC = "Kernel panic - not syncing: NMI"


def test_a_panic_is_a_complaint_unless_expected() -> None:
    log = recorded.text("panic.log")
    assert len(console.complaints(log)) == 1
    assert PANIC in console.complaints(log)[0]
    assert console.complaints(log, [PANIC]) == []


def test_a_complaint_that_was_expected_has_to_come() -> None:
    assert console.complaints("all quiet", [PANIC]) == [
        f"expected on the console and missing: {PANIC}"
    ]


def test_expecting_one_complaint_forgives_no_other() -> None:
    log = recorded.text("panic.log") + "[    9.1] BUG: unable to handle page fault\n"
    assert console.complaints(log, [PANIC]) == ["[    9.1] BUG: unable to handle page fault"]


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: kernel/resource.c:1450 at release_mem_region_adjustable+0x1c5/0x1d0, CPU#0: sh/1",
        "WARNING: possible circular locking dependency detected",
        "BUG: KASAN: slab-use-after-free in walk_system_ram_range+0x1/0x2",
        "BUG: sleeping function called from invalid context at mm/page_alloc.c:1",
        "INFO: task sh:1 blocked for more than 120 seconds.",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:1]",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "UBSAN: shift-out-of-bounds in kernel/resource.c:1:1",
        "ODEBUG: free active (active state 0) object: 00 object type: work_struct",
        "Oops: general protection fault, probably for non-canonical address",
        "list_add corruption. prev->next should be next",
        "sh invoked oom-killer: gfp_mask=0x1, order=0",
        "kworker/0:1: page allocation failure: order:9, mode:0x1",
    ],
)
def test_every_kind_of_complaint(line: str) -> None:
    log = f"[    1.0] Run /init as init process\n[    2.0] {line}\n[    3.0] Call Trace:\n"
    assert console.complaints(log) == [f"[    2.0] {line}"]


def test_an_ordinary_boot_is_quiet() -> None:
    assert console.complaints(recorded.text("panic.log").split("Kernel panic")[0]) == []


def test_last_words_keep_the_reason() -> None:
    shown = console.last_words(recorded.text("panic.log")).splitlines()
    assert PANIC in shown[0]
    assert len(shown) == console.TAIL_LINES + 1
    assert "Kernel Offset" in shown[-1]
