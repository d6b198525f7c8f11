# SPDX-License-Identifier: GPL-2.0
"""configs/flavours.toml, and what bash reads of it."""

import subprocess

import pytest

from vmtest.errors import Failure
from vmtest.flavours import ARCHITECTURES, FLAVOURS, TABLE, both, compared, flavour, is_base
from vmtest.paths import KERNELS, ROOT, measured


@pytest.mark.parametrize("name", FLAVOURS)
def test_an_entry_names_what_there_is(name: str) -> None:
    entry = flavour(name)
    assert entry.source in ("base", "series")
    assert entry.architecture in ARCHITECTURES
    assert entry.copy_of in ("", *FLAVOURS) and entry.measures in ("", *FLAVOURS)
    assert all((TABLE.parent / f"{fragment}.config").exists() for fragment in entry.fragments)


def test_every_fragment_is_used() -> None:
    used = {fragment for entry in FLAVOURS.values() for fragment in entry.fragments}
    assert {path.stem for path in TABLE.parent.glob("*.config")} == used


def test_a_kernel_that_is_compared_can_be_measured() -> None:
    assert [measured(kernel) for kernel in KERNELS] == ["bench-base", "bench-patched"]


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(Failure, match="no kernel 'patchde', but base, patched"):
        flavour("patchde")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_has_a_base_and_a_patched_kernel(name: str) -> None:
    base, patched = ARCHITECTURES[name].kernels
    assert [flavour(kernel).architecture for kernel in (base, patched)] == [name, name]
    assert [flavour(kernel).source for kernel in (base, patched)] == ["base", "series"]
    assert [is_base(kernel) for kernel in (base, patched, both(name))] == [True, False, False]
    assert compared(both(name)) == ARCHITECTURES[name].kernels and compared(base) == [base]


def test_bash_reads_the_same() -> None:
    script = ". tools/lib.sh; . tools/flavour.sh; flavour base-ballooned; echo ${flavour[fragments]}/${flavour[target]}"
    said = subprocess.run(["bash", "-c", script], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert said == " ".join(FLAVOURS["base-ballooned"].fragments) + "/bzImage\n"
