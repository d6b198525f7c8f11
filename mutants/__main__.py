# SPDX-License-Identifier: GPL-2.0
"""Plants bugs in the patched kernel, one at a time, and shows which tests find each: KUnit suites where they can, else
scenarios.

`make mutants`, or `make mutants TOPIC=05-lookers`. A mutant is built in a copy of the patched object tree: make prefers
the mutated file that lies there to the one in the source tree, which is never touched.
"""

import re
import shutil
import subprocess
import sys

from mutants.bugs import TOPICS, Planted
from vmtest import kunit, paths
from vmtest.errors import Failure
from vmtest.flavours import architecture, flavour
from vmtest.kmake import kmake
from vmtest.qemu import Machine
from vmtest.vm import VM

MUTANT = "mutant"
OBJECTS = paths.objects(MUTANT)
RESULTS = paths.ROOT / "results/mutants.md"


def build(planted: Planted) -> None:
    """Builds the mutant; one that does not compile is a mistake in its table."""
    for file, source in planted.sources.items():
        (OBJECTS / file).write_text(source)
    kmake(MUTANT, architecture(MUTANT).target, "modules")


def failures(planted: Planted) -> list[str]:
    return failing_scenarios(planted) if planted.scenarios else failing_cases()


def failing_scenarios(planted: Planted) -> list[str]:
    """Which fail; none if they do not say what they have to."""
    command = [sys.executable, "-m", "pytest", "scenarios", "-q", "-k", planted.scenarios, "--kernel", MUTANT]
    run = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    if run.returncode not in (0, 1):
        raise Failure(f"{' '.join(command)}:\n{run.stdout}{run.stderr}")
    found = re.findall(r"^FAILED \S+::(\S+)", run.stdout, re.MULTILINE)
    unsaid = [name for name in planted.names if name not in run.stdout]
    if unsaid:
        print(f"not a word of {unsaid}: {run.stdout}", flush=True)
        return []
    return [name.replace(f"[{MUTANT}-", "[").replace(f"[{MUTANT}]", "") for name in found]


def failing_cases() -> list[str]:
    """Boots the mutant and names the test cases that fail; a guest that dies is one."""
    cmdline = "kunit.enable=1 kunit.filter_glob=resource"
    try:
        with VM("mutant", Machine(MUTANT, cmdline=cmdline)) as vm:
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
    intact = paths.objects(flavour(MUTANT).copy_of)
    print(f"copying {intact} ...", flush=True)
    shutil.copytree(intact, OBJECTS, symlinks=True)


def try_topic(topic: str, missed: list[str]) -> list[str]:
    """The rows of its table; what is not as expected goes to `missed`."""
    bugs = list(TOPICS[topic]())
    bugs.insert(0, Planted("none: all pass", {}, bugs[0].scenarios))
    rows = []
    for number, bug in enumerate(bugs):
        build(bug)
        found = failures(bug)
        for file in bug.sources:
            (OBJECTS / file).unlink()
        verdict = ", ".join(found) if found else "nothing"
        print(f"{topic} [{number}/{len(bugs) - 1}] {bug.bug}: {verdict}", flush=True)
        rows.append(f"| {bug.bug} | {verdict} |")
        if bool(found) != (number > 0):
            missed.append(bug.bug)
    return rows


def main() -> int:
    only = sys.argv[1:]
    prepare()
    missed: list[str] = []
    tables = {topic: try_topic(topic, missed) for topic in only or TOPICS}
    shutil.rmtree(OBJECTS)
    count = sum(len(rows) - 1 for rows in tables.values())
    print(f"{count} bugs planted, not as expected: {missed or 'none'}")
    keep(tables)
    print(f"written: {RESULTS}")
    return 1 if missed else 0


def keep(tables: dict[str, list[str]]) -> None:
    """Puts tables in the place of what was there for their topics."""
    header, *old = RESULTS.read_text().split("\n## ")
    sections = {text.splitlines()[0]: f"\n## {text}" for text in old}
    sections |= {topic: section(topic, rows) for topic, rows in tables.items()}
    RESULTS.write_text(header + "".join(sections[topic] for topic in sorted(sections)))


def section(topic: str, rows: list[str]) -> str:
    return f"\n## {topic}\n\n| bug | fails |\n|---|---|\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"error: {failure}")
