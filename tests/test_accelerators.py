# SPDX-License-Identifier: GPL-2.0
"""Guests run under KVM where there is one, but for what is counted, and for Xen."""

import os
from pathlib import Path

import pytest

from vmtest.errors import Failure
from vmtest.qemu import Machine
from vmtest.xen import Host

EMULATED = ["-accel", "tcg,thread=multi"]
PLAIN = Machine("patched")


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has KVM, and nobody says anything about it."""
    monkeypatch.delenv("ACCEL", raising=False)
    with_cpu(monkeypatch, "fpu vme svm npt")
    monkeypatch.setattr(os, "access", lambda path, mode: path == "/dev/kvm")


def with_cpu(monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: f"flags\t\t: {flags}\n")


def test_kvm_comes_first() -> None:
    assert PLAIN.accelerators == ["-accel", "kvm", *EMULATED]


def test_a_host_without_kvm_emulates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert PLAIN.accelerators == EMULATED


def test_a_kvm_without_virtualization_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Software behind /dev/kvm, as in some virtual machines, was seen to hang in the kernel's decompressor."""
    with_cpu(monkeypatch, "fpu vme svm_lock")
    assert PLAIN.accelerators == EMULATED


def test_emulation_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCEL", "tcg")
    assert PLAIN.accelerators == EMULATED


def test_nothing_else_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCEL", "hvf")
    with pytest.raises(Failure, match="ACCEL=hvf is not known"):
        print(PLAIN.accelerators)


def test_instructions_are_counted_by_emulation() -> None:
    assert "kvm" not in Machine("patched", count_instructions=True).accelerators


def test_xen_is_emulated() -> None:
    assert Host("patched").accelerators == EMULATED
