# SPDX-License-Identifier: GPL-2.0
"""Dumps as makedumpfile writes them, read."""

import struct
import zlib

import pytest

from vmtest.kdump import DESCRIPTOR, FLATTENED, FLATTENED_HEADER, SIGNATURE, SIZES, Kdump
from vmtest.units import PAGE

ONES, TWOS = b"\1" * PAGE, b"\2" * PAGE


def dump() -> bytes:
    """Memory at pages 1 to 3, 16 and 17; in the file are pages 2, as it is, and 17, compressed."""
    header = bytearray(2 * PAGE)
    header[: len(SIGNATURE)] = SIGNATURE
    struct.pack_into("<iiI", header, SIZES, PAGE, 1, 2)
    there = bytes([0b1110, 0, 0b11]).ljust(PAGE, b"\0")
    kept = bytes([0b0100, 0, 0b10]).ljust(PAGE, b"\0")
    packed = zlib.compress(TWOS)
    at = 4 * PAGE + 2 * DESCRIPTOR.size
    descriptors = DESCRIPTOR.pack(at, PAGE, 0, 0) + DESCRIPTOR.pack(at + PAGE, len(packed), 1, 0)
    return bytes(header) + there + kept + descriptors + ONES + packed


def flattened(whole: bytes) -> bytes:
    """In pieces, the last one first."""
    half = len(whole) // 2
    pieces = [(half, whole[half:]), (0, whole[:half])]
    records = (struct.pack(">qq", offset, len(data)) + data for offset, data in pieces)
    return FLATTENED.ljust(FLATTENED_HEADER, b"\0") + b"".join(records) + struct.pack(">qq", -1, -1)


@pytest.mark.parametrize("file", [dump(), flattened(dump())], ids=["plain", "flattened"])
def test_a_dump_is_read(file: bytes) -> None:
    found = Kdump(file)
    assert found.memory == [(PAGE, 4 * PAGE - 1), (16 * PAGE, 18 * PAGE - 1)]
    assert len(found) == 2
    assert found.page(2 * PAGE) == ONES
    assert found.page(17 * PAGE) == TWOS
    for left_out in [PAGE, 4 * PAGE]:
        with pytest.raises(AssertionError, match="does not hold"):
            found.page(left_out)


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not a dump of kdump"):
        Kdump(b"\x7fELF".ljust(PAGE, b"\0"))
