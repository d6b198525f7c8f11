# SPDX-License-Identifier: GPL-2.0
"""KUnit in a guest: suites run while it boots, results are read over the guest channel."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass

from vmtest import paths
from vmtest.errors import Failure
from vmtest.flavours import flavour
from vmtest.qemu import Machine
from vmtest.vm import VM

RESULTS = "/sys/kernel/debug/kunit"


@dataclass(frozen=True)
class Report:
    passed: bool
    text: str  # what the kernel's own parser says


def parse(ktap: str, kernel: str) -> Report:
    """The word of tools/testing/kunit/kunit.py. Passed means that every case ran and passed: its
    exit status alone would forgive skipped cases and output that breaks off."""
    kunit_py = paths.source(kernel) / "tools/testing/kunit/kunit.py"
    parser = subprocess.run(
        [sys.executable, kunit_py, "parse"],
        input=ktap,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # leaves the kernel tree as it is
    )
    text = parser.stdout + parser.stderr
    ran = re.search(r"Ran ([1-9]\d*) tests: passed: (\d+)(?:, skipped: (\d+))?\s*$", text)
    skipped = set(flavour(kernel).skips) & set(re.findall(r"\[SKIPPED\] (\w+)", text))
    all_passed = ran is not None and int(ran[1]) == int(ran[2]) + len(skipped)
    return Report(parser.returncode == 0 and all_passed, text)


def run(kernel: str) -> Report:
    """Boots a guest that runs the suites its kernel has, and judges every one of them."""
    if not flavour(kernel).suites:
        raise Failure(f"the {kernel} kernel has no KUnit suites")
    with VM(f"kunit-{kernel}", Machine(kernel, cmdline="kunit.enable=1")) as vm:
        vm.driver.load()  # suites of a module run then
        ran = vm.sh(f"ls {RESULTS}").split()
        missing = [suite for suite in flavour(kernel).suites if suite not in ran]
        if missing:
            raise Failure(f"KUnit suites {missing} did not run, only {ran}. See configs/.")
        reports = [parse(vm.sh(f"cat {RESULTS}/{suite}/results") + "\n", kernel) for suite in ran]
        complaints = vm.complaints()
    if complaints:
        raise Failure("the kernel complains while it runs KUnit:\n" + "\n".join(complaints))
    return Report(all(report.passed for report in reports), "".join(r.text for r in reports))


def main(kernel: str) -> int:
    report = run(kernel)
    print(report.text, end="", file=sys.stdout if report.passed else sys.stderr)
    print(f"KUnit on the {kernel} kernel: {'passed' if report.passed else 'FAILED'}")
    return 0 if report.passed else 1
