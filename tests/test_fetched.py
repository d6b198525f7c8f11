# SPDX-License-Identifier: GPL-2.0
"""Debian's packages that were unpacked and not installed."""

from pathlib import Path

import pytest

from vmtest.errors import Failure
from vmtest.fetched import Fetched


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One with what the package of QEMU for x86 has, among others."""
    for name in ["qemu-system-i386", "qemu-system-x86_64", "qemu-system-x86_64-microvm", "qemu-system-x86_64-xen"]:
        program = tmp_path / "usr/bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch()
    return tmp_path


def test_qemu_is_the_one_for_all_machines(root: Path) -> None:
    assert Fetched(root, "tools/xen").qemu.name == "qemu-system-x86_64"


def test_what_is_missing_says_how_to_get_it(root: Path) -> None:
    with pytest.raises(Failure, match="Run `tools/emulator patched-s390x`"):
        print(Fetched(root, "tools/emulator patched-s390x", "qemu-system-s390x").qemu)
