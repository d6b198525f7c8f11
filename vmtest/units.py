# SPDX-License-Identifier: GPL-2.0
"""Sizes in bytes, written and read as people do: 2M, 512M, 2G; pages, and what their memory map takes."""

import re

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

PAGE = 4096
STRUCT_PAGE = 64

_UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1 << 40}


def memmap(size: int) -> int:
    """The memory map of so much memory: a struct page for each page."""
    return size // PAGE * STRUCT_PAGE


def parse_size(text: str) -> int:
    match = re.fullmatch(r"(\d+)([KMGT]?)", text)
    if match is None:
        raise ValueError(f"not a size: {text!r} (write 512M or 2G)")
    return int(match[1]) * _UNITS[match[2]]


def format_size(size: int) -> str:
    """The shortest exact form: format_size(2 * GIB) == "2G"."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)
