# SPDX-License-Identifier: GPL-2.0
"""What memory blocks and walks of the resource tree cost does not creep up.

Counted in instructions, which are the same each time for one compiler and one QEMU: `costs.toml` has what they were.
"""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from bench import blocks, walks
from conftest import Boot
from vmtest import paths
from vmtest.cmdline import MOVABLE
from vmtest.flavours import architecture
from vmtest.vm import VM

REFERENCE = Path(__file__).with_name("costs.toml")
MORE = 1.03  # what is worth a look
RESOURCES = 1024


def tools(kernel: str) -> str:
    """What the counts depend on, but for the code: the configuration, the compiler, and QEMU by its release."""
    config = (paths.objects(kernel) / ".config").read_text(encoding="utf-8")
    gcc = re.search(r'^CONFIG_CC_VERSION_TEXT="gcc .* (\S+)"$', config, re.MULTILINE)
    said = subprocess.run([architecture(kernel).qemu, "--version"], check=True, capture_output=True, text=True).stdout
    qemu = re.search(r"version (\d+\.\d+)", said)
    return f"{kernel}, gcc {gcc and gcc[1]}, QEMU {qemu and qemu[1]}"


def counted(vm: VM) -> dict[str, float]:
    cost = blocks.grow_and_shrink(vm, "4G")
    plug, unplug = (by_blocks[max(by_blocks)] for by_blocks in (cost.plug, cost.unplug))
    return {"plug": plug, "unplug": unplug} | walks.count_in(vm, RESOURCES)


@pytest.mark.architectures("x86_64")  # whose time stamps count instructions
@pytest.mark.base("absent")
def test_nothing_costs_more_than_it_did(boot: Boot) -> None:
    vm = boot(vmem=["4G"], memory="1G", cmdline=f"{blocks.CMDLINE} {MOVABLE}", count_instructions=True)
    costs = counted(vm)
    kept = tomllib.loads(REFERENCE.read_text(encoding="utf-8"))
    known = kept.get(tools(vm.machine.kernel))
    if known is None:
        why = f"{REFERENCE.name} has nothing for {tools(vm.machine.kernel)}; here it is {costs}"
        assert "CI" not in os.environ, why
        pytest.skip(why)
    assert costs.keys() == known.keys()
    more = {what: f"{cost}, not {known[what]}" for what, cost in costs.items() if cost > MORE * known[what]}
    assert not more, f"costs more than it did; if that has to be, note it in {REFERENCE.name}: {more}"
