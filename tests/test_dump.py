# SPDX-License-Identifier: GPL-2.0
"""What a dump has to hold, out of /proc/iomem; pages that tell where they are."""

import struct

import pytest

from vmtest import canary, dump, elf
from vmtest.iomem import Iomem

IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
00100000-1fffffff : System RAM
  01000000-01ffffff : Kernel code
  10000000-17ffffff : Crash kernel
100000000-1bfffffff : virtio0
  100000000-107ffffff : System RAM (virtio_mem)
  110000000-11fffffff : System RAM (virtio_mem)
"""


def test_a_dump_has_system_ram_without_the_crash_kernel_and_the_first_mib() -> None:
    assert dump.expected(Iomem(IOMEM)) == [
        (0x100000, 0xFFFFFFF),
        (0x18000000, 0x1FFFFFFF),
        (0x100000000, 0x107FFFFFF),
        (0x110000000, 0x11FFFFFFF),
    ]


def test_pages_at_the_ends_of_pieces() -> None:
    assert dump.borders([0x1000, 0x2000, 0x3000, 0x5000, 0x7000, 0x8000]) == [
        0x1000, 0x3000, 0x5000, 0x7000, 0x8000,
    ]


def test_a_page_is_where_it_says_and_nowhere_else() -> None:
    words = ((0x5000 + 8 * word) * canary.FACTOR % 2**64 for word in range(canary.WORDS))
    page = struct.pack(f"<{canary.WORDS}Q", *words)
    assert canary.alive(page, 0x5000)
    assert not canary.alive(page, 0x6000)
    assert not canary.alive(page[:-1] + b"?", 0x5000)
    assert not canary.alive(b"", 0x5000)


def test_where_memory_is_in_the_file() -> None:
    loads = [elf.Load(0x1000, 0x4FFF, 0x10000), elf.Load(0x8000, 0x8FFF, 0x14000)]
    assert elf.offset(loads, 0x3000, 0x2000) == 0x12000
    assert elf.offset(loads, 0x8000, 0x1000) == 0x14000
    with pytest.raises(AssertionError, match="does not hold 4000"):
        elf.offset(loads, 0x4000, 0x2000)
