# SPDX-License-Identifier: GPL-2.0
"""A guest boots in `with`, and once more if it hangs before its first process."""

from pathlib import Path

import pytest

from vmtest import guest
from vmtest.errors import Failure
from vmtest.guest import BOOTS, Guest, Hung
from vmtest.qemu import Machine


class Made(Guest):
    """Hangs so many times; notes what becomes of it."""

    def __init__(self, hangs: int) -> None:
        super().__init__("made", Machine("base"))
        self.hangs = hangs
        self.noted: list[str] = []

    def start(self) -> None:
        self._stack.callback(self.noted.append, "ended")
        self.noted.append("started")
        if self.noted.count("started") <= self.hangs:
            raise Hung("silent")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "HANGS", tmp_path / "log" / "hangs.log")


def test_it_runs_while_the_block_does() -> None:
    vm = Made(0)
    assert not vm.noted
    with vm:
        assert vm.noted == ["started"]
    assert vm.noted == ["started", "ended"]


def test_one_that_hangs_is_booted_again() -> None:
    with Made(BOOTS - 1) as vm:
        assert vm.noted == ["started", "ended"] * (BOOTS - 1) + ["started"]
    assert guest.HANGS.read_text().count("silent") == BOOTS - 1


def test_one_that_keeps_hanging_is_not() -> None:
    vm = Made(BOOTS)
    with pytest.raises(Failure, match="silent"), vm:
        pass
    assert vm.noted == ["started", "ended"] * BOOTS
