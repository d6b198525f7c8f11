# SPDX-License-Identifier: GPL-2.0
"""make bench: what the base and the patched kernel need for the same work, in one run.

Writes bench.json (every number, the machine, QEMU and the kernels), walks.png and blocks.png to
results/. `python3 -m bench quick` takes a few minutes, measures less and writes to build/bench.
"""

import json
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import blocks, boot, checkerboard, compaction, crash_load, dom0, looks, memmap, shares, walks
from vmtest import paths
from vmtest.errors import Failure
from vmtest.flavours import ARCHITECTURES, HOST


def machine() -> dict[str, str]:
    qemu = subprocess.run([ARCHITECTURES[HOST].qemu, "--version"], check=True, capture_output=True, text=True)
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "host": f"{len(model)} x {model[0].split(':')[1].strip()}, {platform.system()}",
        "qemu": qemu.stdout.splitlines()[0],
    }


def main() -> int:
    quick = sys.argv[1:] == ["quick"]
    into = paths.BUILD / "bench" if quick else paths.ROOT / "results"
    into.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"machine": machine()}
    results["blocks"] = by_blocks = blocks.measure(quick)
    print("\n" + blocks.table(by_blocks) + "\n")
    blocks.plot(by_blocks, into / "blocks.png")
    results["checkerboard"] = unplugged = checkerboard.measure(quick)
    print("\n" + checkerboard.table(unplugged) + "\n")
    results["boot"] = booted = boot.measure()
    print("\n" + boot.table(booted) + "\n")
    if not quick:
        results["compaction"] = compacted = compaction.measure()
        print("\n" + compaction.table(compacted) + "\n")
        results["looks"] = looked = looks.measure()
        print("\n" + looks.table(looked) + "\n")
        print(shares.table(shared := shares.measure()) + "\n")
        results["shares"] = {
            kernel: {level: {what: share.millions(what) for what in share.cost} for level, share in levels.items()}
            for kernel, levels in shared.items()
        }
        results["crash_load"] = loaded = crash_load.measure()
        print("\n" + crash_load.table(loaded) + "\n")
        results["walks"] = walked = walks.measure()
        print("\n" + walks.table(walked) + "\n")
        walks.plot(walked, into / "walks.png")
        results["region_request_ns"] = walks.wait()
        results["boot_memory"], results["growth"] = memmap.measure()
        print("\n" + memmap.table(results["boot_memory"]) + "\n")
        print(memmap.faster(results["growth"]) + "\n")
        results["dom0"] = grown = dom0.measure()
        print("\n" + dom0.table(grown) + "\n")
    (into / "bench.json").write_text(json.dumps(results, indent=1, default=asdict) + "\n")
    print(f"written: {into}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"error: {failure}")
