# SPDX-License-Identifier: GPL-2.0
"""The file that makedumpfile writes in a capture kernel: kdump's compressed format, in makedumpfile's
flattened form or not. The structures are those of makedumpfile's diskdump_mod.h and makedumpfile.h.
"""

import struct
import zlib
from functools import cached_property
from typing import Iterator

from vmtest.dump import Ranges
from vmtest.units import PAGE

SIGNATURE = b"KDUMP   "
FLATTENED = b"makedumpfile\0\0\0\0"
FLATTENED_HEADER = 4096
SIZES = 428  # where the header has block_size, sub_hdr_size, bitmap_blocks
DESCRIPTOR = struct.Struct("<qIIQ")  # offset, size, flags, page flags
ZLIB = 1


def flat(file: bytes) -> bytes:
    """What a flattened file stands for: pieces, each with its place, that were written in any order."""
    if not file.startswith(FLATTENED):
        return file
    whole, pieces = bytearray(), memoryview(file)
    at = FLATTENED_HEADER
    while True:
        offset, size = struct.unpack_from(">qq", file, at)
        if offset < 0:
            return bytes(whole)
        at, end = at + 16, offset + size
        whole.extend(bytes(max(0, end - len(whole))))
        whole[offset:end] = pieces[at:][:size]
        at += size


class Kdump:
    def __init__(self, file: bytes) -> None:
        whole = flat(file)
        if not whole.startswith(SIGNATURE):
            raise ValueError(f"not a dump of kdump: it begins with {whole[:16]!r}")
        self._file = memoryview(whole)
        self._block, sub_header, bitmap_blocks = struct.unpack_from("<iiI", self._file, SIZES)
        self._bitmaps = (1 + sub_header) * self._block
        self._bitmap_size = bitmap_blocks * self._block // 2
        self._descriptors = self._bitmaps + 2 * self._bitmap_size

    def _bitmap(self, number: int) -> Iterator[int]:
        """The pages that are set in one of the two, in order."""
        start = self._bitmaps + number * self._bitmap_size
        for place, byte in enumerate(self._file[start:][: self._bitmap_size]):
            if byte:
                yield from (8 * place + bit for bit in range(8) if byte >> bit & 1)

    @cached_property
    def memory(self) -> Ranges:
        """The memory that was there, whether or not it is in the file."""
        ranges: Ranges = []
        for page in self._bitmap(0):
            if ranges and ranges[-1][1] + 1 == page * PAGE:
                ranges[-1] = (ranges[-1][0], page * PAGE + PAGE - 1)
            else:
                ranges.append((page * PAGE, page * PAGE + PAGE - 1))
        return ranges

    @cached_property
    def _places(self) -> dict[int, int]:
        """Which descriptor a page has that is in the file."""
        return {page: number for number, page in enumerate(self._bitmap(1))}

    def __len__(self) -> int:
        """How many pages are in the file."""
        return len(self._places)

    def page(self, address: int) -> bytes:
        """What was in a page of memory."""
        if address // PAGE not in self._places:
            raise AssertionError(f"the dump does not hold {address:x}")
        number = self._places[address // PAGE]
        place = self._descriptors + number * DESCRIPTOR.size
        offset, size, flags, _ = DESCRIPTOR.unpack_from(self._file, place)
        data = self._file[offset:][:size]
        return zlib.decompress(data) if flags & ZLIB else bytes(data)
