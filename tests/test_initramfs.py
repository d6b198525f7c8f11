# SPDX-License-Identifier: GPL-2.0
"""The initramfs is the same for the same inputs, and made anew only when they change."""

import os
from pathlib import Path

import pytest

from vmtest import initramfs, paths
from vmtest.errors import Failure


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "IMAGES", tmp_path)


def test_same_inputs_same_image(tmp_path: Path) -> None:
    image = initramfs.image("base")
    first, made = image.read_bytes(), image.stat().st_mtime_ns
    assert initramfs.image("base").stat().st_mtime_ns == made

    (tmp_path / "base.inputs").unlink()
    assert initramfs.image("base").read_bytes() == first
    assert image.stat().st_mtime_ns != made
    programs = {"canary", "fragment", "grants", "kexec_hotplug", "pin", "poison", "xenmem"}
    assert {file.name for file in (tmp_path / "x86_64").iterdir()} == programs
    assert {file.name for file in tmp_path.iterdir()} == {"x86_64"} | {
        f"base{part}" for part in (".cpio.gz", ".inputs", "-capture.cpio.gz", "-capture.inputs")
    }


def test_a_changed_input_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    before = initramfs._spec({"/file": file})
    file.write_text("new")
    os.utime(file, ns=(0, 0))
    assert initramfs._spec({"/file": file}) != before


def test_a_kernel_that_is_not_built_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "BUILD", Path("nowhere"))
    with pytest.raises(Failure, match="not built yet. Run `tools/build base`"):
        initramfs.image("base")
