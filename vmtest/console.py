# SPDX-License-Identifier: GPL-2.0
"""The guest's console is a log: never a verdict, but a kernel that complains fails its scenario."""

import re
from dataclasses import dataclass
from typing import Iterable

COMPLAINTS = re.compile(
    "|".join(
        [
            "Kernel panic",
            "Oops",
            "Internal error:",
            "BUG:",
            "kernel BUG at",
            "WARNING:",  # WARN_ON and lockdep
            "INFO: task .* blocked for",
            "soft lockup",
            "hard LOCKUP",
            "rcu.* detected .*stall",
            "suspicious RCU usage",
            "KASAN:|KMSAN:|KCSAN:|KFENCE:|UBSAN:|ODEBUG:",
            "general protection fault",
            "scheduling while atomic",
            "list_(add|del) corruption",
            "refcount_t:",
            "invoked oom-killer",
            "Out of memory:",
            "page allocation failure",
            "unreferenced object",
        ]
    )
)

TAIL_LINES = 25


@dataclass(frozen=True)
class Complaint:
    """One that is tolerated."""

    pattern: str  # a regular expression
    reason: str
    until: str  # when it need not be tolerated any more


NO_PAGE_TABLE = Complaint(
    "NULL pointer dereference|Oops: |Kernel panic",
    "uses a page table of the direct map that could not be allocated",
    "the base has 06-page-tables",
)


def crashed_by(cause: str) -> Complaint:
    return Complaint(f"Kernel panic - not syncing: {cause}", "the scenario crashes the guest", "the scenario goes")


# By Crash.now() and Crash.strike(), which have an architecture's means.
CRASHED = crashed_by("(NMI|sysrq triggered crash)")


def complaints(log: str, expected: Iterable[str] = ()) -> list[str]:
    """The lines that must not be there. `expected` are regular expressions of complaints that a
    scenario provokes on purpose; one that does not come is a complaint itself."""
    found = [line for line in log.splitlines() if COMPLAINTS.search(line)]
    missing = []
    for pattern in expected:
        rest = [line for line in found if not re.search(pattern, line)]
        if len(rest) == len(found):
            missing.append(f"expected on the console and missing: {pattern}")
        found = rest
    return found + missing


def last_words(log: str) -> str:
    """The end of the log; before it the first complaint, which a back trace may have pushed out."""
    lines = log.splitlines()
    first = complaints("\n".join(lines[:-TAIL_LINES]))[:1]
    return "\n".join("  | " + line for line in first + lines[-TAIL_LINES:])
