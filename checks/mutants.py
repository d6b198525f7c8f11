"""Plants bugs in kernel/resource.c, one at a time, and shows that the KUnit suite finds each.

`make mutants`. A mutant is built in a copy of the patched object tree: make prefers the mutated
kernel/resource.c that lies there to the one in the source tree, which is never touched. Two
mutants are no inventions: they put back parts of the base's kernel/resource.c.
"""

import re
import shutil
import subprocess
import sys
from typing import NamedTuple

from vmtest import kunit, paths
from vmtest.errors import Failure
from vmtest.qemu import Machine
from vmtest.vm import VM

FILE = "kernel/resource.c"
OBJECTS = paths.BUILD / "obj" / "mutant"
RESULTS = paths.ROOT / "docs" / "mutants.md"


class Mutant(NamedTuple):
    bug: str
    old: str
    new: str


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
    Mutant("release: too few spares for nested splits", "if (cut)\n\t\t\tnr++;",
           "if (cut)\n\t\t\tnr = 1;"),
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


def between(source: str, first: str, last: str) -> str:
    return source[source.index(first):source.index(last)]


def base_release(patched: str, base: str) -> str:
    """The patched file with the base's release_mem_region_adjustable()."""
    first, last = "#ifdef CONFIG_MEMORY_HOTREMOVE\n", "#endif\t/* CONFIG_MEMORY_HOTREMOVE */"
    return patched.replace(between(patched, first, last), between(base, first, last))


def base_walks(patched: str, base: str) -> str:
    """The patched file with the base's walks."""
    last = "static int __is_ram("
    ours = between(patched, "/**\n * struct resource_walk ", last)
    theirs = between(base, "/**\n * find_next_res ", last)
    return patched.replace(ours, theirs)


def build(source: str) -> None:
    """Builds the mutant; one that does not compile is a mistake in the table above."""
    (OBJECTS / FILE).write_text(source)
    # One script knows how a kernel is made.
    script = '. tools/lib.sh && . tools/kmake.sh && kmake "$0" "$1" bzImage'
    command = ["bash", "-c", script, str(paths.source("patched")), str(OBJECTS)]
    log = paths.BUILD / "log" / "mutant.log"
    log.parent.mkdir(exist_ok=True)
    with open(log, "w") as output:
        if subprocess.run(command, cwd=paths.ROOT, stdout=output, stderr=output).returncode:
            raise Failure(f"the mutant does not build; see {log}")


def failures() -> list[str]:
    """Boots the mutant and names the test cases that fail; a guest that dies is one."""
    cmdline = "kunit.enable=1 kunit.filter_glob=resource"
    try:
        with VM("mutant", Machine("mutant", cmdline=cmdline)) as vm:
            ktap = vm.sh(f"cat {kunit.RESULTS}/resource/results")
            complaints = vm.complaints()
    except Failure as failure:
        return [f"the guest dies: {first_complaint(str(failure))}"]
    found = []
    for name in re.findall(r"^    not ok \d+ (\w+)", ktap, re.MULTILINE):
        rows = re.search(rf"# {name}: pass:\d+ fail:(\d+) skip:0 total:(\d+)", ktap)
        found.append(f"{name} ({rows[1]} of {rows[2]})" if rows and rows[2] != "1" else name)
    return found + [f"the kernel complains: {first_complaint(line)}" for line in complaints[:1]]


def first_complaint(text: str) -> str:
    found = re.search(r"(BUG: |Oops|general protection|Kernel panic|WARNING: )[^\n]*", text)
    return found[0] if found else text.splitlines()[0]


def prepare() -> None:
    """A copy of the patched objects to build in."""
    shutil.rmtree(OBJECTS, ignore_errors=True)
    print(f"copying {paths.bzimage('patched').parents[3]} ...", flush=True)
    shutil.copytree(OBJECTS.with_name("patched"), OBJECTS, symlinks=True)


def main() -> int:
    patched = (paths.source("patched") / FILE).read_text()
    base = (paths.source("base") / FILE).read_text()
    sources = [("none: the suite passes", patched)]
    sources += [("the base's own release", base_release(patched, base))]
    sources += [("the base's own walks", base_walks(patched, base))]
    for mutant in MUTANTS:
        if patched.count(mutant.old) != 1:
            raise Failure(f"{mutant.bug}: {mutant.old!r} is not in {FILE} exactly once")
        sources.append((mutant.bug, patched.replace(mutant.old, mutant.new)))

    prepare()
    rows = []
    missed = []
    for number, (bug, source) in enumerate(sources):
        build(source)
        found = failures()
        verdict = ", ".join(found) if found else "nothing"
        print(f"[{number + 1}/{len(sources)}] {bug}: {verdict}", flush=True)
        rows.append(f"| {bug} | {verdict} |")
        if bool(found) != (number > 0):
            missed.append(bug)
    shutil.rmtree(OBJECTS)
    RESULTS.write_text(header() + "\n".join(rows) + "\n")
    print(f"{len(sources) - 1} bugs planted, not as expected: {missed or 'none'}; see {RESULTS}")
    return 1 if missed else 0


def header() -> str:
    return (
        "# Planted bugs, and what finds them\n\n"
        "Written by `make mutants`: each bug is planted in kernel/resource.c of the patched"
        " kernel,\nwhich is built, booted and runs its KUnit suite.\n\n"
        "| bug | fails |\n|---|---|\n"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"error: {failure}")
