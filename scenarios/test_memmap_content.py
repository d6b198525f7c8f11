# SPDX-License-Identifier: GPL-2.0
"""What is in the struct pages of memory that goes online: what the base writes there, word for word."""

import base64
import gzip
import struct
from dataclasses import dataclass
from typing import Callable

import pytest

from conftest import Boot
from vmtest import module
from vmtest.cmdline import HOSTED, MOVABLE, ONLINE
from vmtest.units import STRUCT_PAGE
from vmtest.vm import VM

MODULE, DIRECTORY = "guest/memmap_copy", "/sys/kernel/debug/memmap_copy"
LINKS, COUNTS = (1, 2), 6  # words of a struct page: the list head, and page_type with _refcount above
OFFLINE, FREE, BUDDY, IN_USE = 1 << 32 | 0xF1000000, 0xFFFFFFFF, 0xF0000000, 1 << 32 | 0xFFFFFFFF
ELSEWHERE = "elsewhere"

Page = tuple[int | str, ...]


@dataclass
class Copy:
    before: list[Page]
    after: list[Page]
    pageblocks: bytes


def read(vm: VM, file: str) -> bytes:
    return gzip.decompress(base64.b64decode(vm.sh(f"gzip -c {DIRECTORY}/{file} | base64", 60)))


def pages(content: bytes, address: int) -> list[Page]:
    """Struct pages. What a list head points to is told from its struct page on, if it is in the same memory block."""
    found: list[Page] = []
    for at, page in enumerate(struct.iter_unpack(f"<{STRUCT_PAGE // 8}Q", content)):
        words: list[int | str] = list(page)
        for link in LINKS:
            offset = page[link] - address
            words[link] = offset - at * STRUCT_PAGE if 0 <= offset < len(content) else ELSEWHERE
        found.append(tuple(words))
    return found


def copied(boot: Boot, kernel: str, cmdline: str, grow: Callable[[VM], None]) -> Copy:
    """The memory map of the last memory block that goes online."""
    vm = boot(vmem=["1G"], kernel=kernel, cmdline=cmdline, dimms=grow is dimm)
    module.load(vm, MODULE)
    grow(vm)
    address = int(vm.sh(f"cat {DIRECTORY}/address"), 16)
    before, after = (pages(read(vm, file), address) for file in ("before", "after"))
    return Copy(before, after, read(vm, "pageblocks"))


def counts(page: Page, value: int) -> Page:
    return (*page[:COUNTS], value, *page[COUNTS + 1:])


def whole(vm: VM) -> None:
    vm.vmem[0].resize("256M")


def part(vm: VM) -> None:
    vm.vmem[0].resize("132M")


def dimm(vm: VM) -> None:
    vm.dimms.add("dimm0", "256M")


@pytest.mark.architectures("x86_64", "arm64")  # by the order of bytes in a word
@pytest.mark.base("compared")
@pytest.mark.parametrize(
    "grow, cmdline, kept",
    [(whole, MOVABLE, 0), (whole, ONLINE, 0), (part, MOVABLE, 31 << 10), (dimm, f"{MOVABLE} {HOSTED}", 0)],
)
def test_struct_pages_come_out_as_before(boot: Boot, grow: Callable[[VM], None], cmdline: str, kept: int) -> None:
    base, patched = (copied(boot, kernel, cmdline, grow) for kernel in ("base", "patched"))
    hosted = sum(page[COUNTS] == IN_USE for page in base.before)
    assert hosted == (512 if grow is dimm else 0)
    # While they wait for their callback, pages are free already: the only thing that is not as it was.
    expected = [counts(page, FREE) if page[COUNTS] == OFFLINE else page for page in base.before]
    assert patched.before == expected
    assert patched.after == base.after
    assert patched.pageblocks == base.pageblocks
    found = [page[COUNTS] for page in patched.after]
    assert found.count(OFFLINE) == kept
    assert found.count(BUDDY) + found.count(FREE) == len(found) - hosted - kept
    assert found.count(BUDDY) > 0
