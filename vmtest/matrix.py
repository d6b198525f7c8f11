# SPDX-License-Identifier: GPL-2.0
"""python3 -m vmtest.matrix LOG...: writes README's table of what was run where, from what pytest printed.

Give it the output of `make test` or `make test-all`; what several logs have in common counts as in the last. A field
of which no log has a scenario stays as it is.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from vmtest.errors import Failure
from vmtest.flavours import ARCHITECTURES, FLAVOURS, both, compared, flavour
from vmtest.paths import ROOT

README = ROOT / "README.md"
BEGIN, END = "<!-- of vmtest/matrix.py -->\n", "<!-- end -->\n"
NEVER = "not run"


@dataclass(frozen=True)
class Row:
    architecture: str
    hypervisor: str
    memory: str  # what it comes by
    scenarios: str = ""  # a pattern for their names; the first row that has one counts it
    state: str = NEVER  # of what has no scenarios


ROWS = [
    Row("x86_64", "Xen 4.17, PV dom0", "balloon", "test_xen_(balloon|memmap)|xen_domain"),
    Row("x86_64", "Xen 4.17, PVH dom0", "balloon", "test_xen_pvh"),
    Row("x86_64", "Hyper-V's protocol, by QEMU 10.0", "balloon", "test_hyperv"),
    Row("x86_64", "QEMU, libvirt, Debian guest", "virtio-mem", "test_debian_guest.*libvirt"),
    Row("x86_64", "QEMU, Debian guest", "virtio-mem", "test_debian_guest"),
    Row("x86_64", "QEMU", "ACPI DIMM", "dimm"),
    Row("x86_64", "QEMU", "dax/kmem", "kmem"),
    Row("x86_64", "QEMU", "virtio-mem", "scenarios/test_(?!harness|kunit|costs)"),
    Row("x86_64", "QEMU with KVM, on an emulated CPU", "virtio-mem", state="a few, by tools/with-kvm"),
    Row("x86_64", "KVM on hardware, Xen domU, Hyper-V, Cloud Hypervisor, Firecracker", "any"),
    Row("arm64", "QEMU, pages of 64 KiB", "virtio-mem", "large_pages"),
    Row("arm64", "QEMU", "ACPI DIMM", "dimm"),
    Row("arm64", "QEMU", "virtio-mem", "scenarios/test_(?!harness|kunit|costs)"),
    Row("s390x", "QEMU 10.0", "virtio-mem", "scenarios/test_(?!harness|kunit|costs)"),
    Row("powerpc64le", "none", "any", state="some objects compile, by hand"),
    Row("riscv and others", "any", "any", state="not compiled"),
]


def verdicts(log: str) -> dict[str, str]:
    """What became of each scenario; one that was run again counts as it was at last."""
    alone = re.findall(r"^(scenarios/\S+::.*\]) (PASSED|FAILED|ERROR)", log, re.M)
    beside = re.findall(r"^\[gw\d+\] \[ *\d+%\] (PASSED|FAILED|ERROR) (scenarios/\S+::.*\])", log, re.M)
    return dict(alone) | {name: verdict for verdict, name in beside}


KERNELS = sorted([*FLAVOURS, *map(both, ARCHITECTURES)], key=len, reverse=True)
KERNEL = re.compile(rf"\[({'|'.join(KERNELS)})\b")  # the longest that fits


def _kernel_of(name: str) -> str:
    found = KERNEL.search(name)
    return found[1] if found else ""


# The columns, and which kernels stand in each: what they are called without what comes behind.
COLUMNS = {
    "base": "base",
    "patched": "patched|both",
    "patched, with KASAN and lockdep": "debug",
}


def _row_of(name: str) -> Row | None:
    kernel = _kernel_of(name)
    ours = [row for row in ROWS if kernel and row.architecture == flavour(compared(kernel)[0]).architecture]
    return next((row for row in ours if row.scenarios and re.search(row.scenarios, name)), None)


def fields(lines: str) -> dict[tuple[str, ...], list[str]]:
    """What a table says, by what its rows begin with."""
    rows = [[field.strip() for field in line.strip("|").split("|")] for line in lines.splitlines()]
    return {tuple(row[:3]): row[3:] for row in rows}


def table(found: dict[str, str], before: str = "") -> str:
    said = fields(before)
    lines = [f"| architecture | hypervisor | memory comes by | {' | '.join(COLUMNS)} |", "|---" * 6 + "|"]
    for row in ROWS:
        states = []
        for column, kernels in enumerate(COLUMNS.values()):
            results = [
                verdict for name, verdict in found.items()
                if _row_of(name) is row and re.match(kernels, _kernel_of(name))
            ]
            state = NEVER if kernels == "debug" else row.state
            if row.scenarios:
                state = said.get((row.architecture, row.hypervisor, row.memory), [state] * len(COLUMNS))[column]
            states.append(f"{results.count('PASSED')} of {len(results)}" if results else state)
        lines.append("| " + " | ".join([row.architecture, row.hypervisor, row.memory, *states]) + " |")
    return "\n".join(lines) + "\n"


def main(logs: list[str]) -> None:
    found: dict[str, str] = {}
    for log in logs:
        found |= verdicts(Path(log).read_text(encoding="utf-8"))
    if not found:
        raise Failure("no scenario in there. Give the output of `make test` or `make test-all`.")
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    README.write_text(before + BEGIN + table(found, old) + END + after, encoding="utf-8")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Failure, OSError) as error:
        sys.exit(f"error: {error}")
