# SPDX-License-Identifier: GPL-2.0
"""The ELF core header a crash kernel gets: which memory a dump would hold."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from elftools.elf.elffile import ELFFile  # type: ignore[import]

from vmtest.units import PAGE

ET_CORE = 4
# Where the kernel is linked to: Documentation/arch/x86/x86_64/mm.rst, Documentation/arch/arm64/memory.rst, and
# CONFIG_KERNEL_IMAGE_BASE of s390.
KERNEL_MAP = {"EM_X86_64": 0xFFFFFFFF80000000, "EM_AARCH64": 0xFFFF800000000000, "EM_S390": 0x3FFE0000000}


@dataclass(frozen=True)
class Load:
    """A PT_LOAD: physical addresses, `end` inclusive as in /proc/iomem."""

    start: int
    end: int
    offset: int = field(default=0, compare=False)  # of the memory in the file

    def __str__(self) -> str:
        return f"{self.start:x}-{self.end:x}"


def loads(header: bytes) -> list[Load]:
    """The PT_LOADs of an ELF core header, but for the one that has the kernel a second time, where
    it is linked to."""
    file = ELFFile(io.BytesIO(header))  # type: ignore[no-untyped-call]
    return [
        Load(s["p_paddr"], s["p_paddr"] + s["p_memsz"] - 1, s["p_offset"])
        for s in file.iter_segments(type="PT_LOAD")  # type: ignore[no-untyped-call]
        if s["p_vaddr"] < KERNEL_MAP[file["e_machine"]]
    ]


def needed(program: Path) -> tuple[list[str], str]:
    """The libraries that a program or a library names, and the dynamic linker, if it names one."""
    names, interpreter = [], ""
    with open(program, "rb") as file:
        for segment in ELFFile(file).iter_segments():  # type: ignore[no-untyped-call]
            if segment["p_type"] == "PT_DYNAMIC":
                names = [tag.needed for tag in segment.iter_tags("DT_NEEDED")]
            elif segment["p_type"] == "PT_INTERP":
                interpreter = segment.get_interp_name()
    return names, interpreter


def offset(found: list[Load], address: int, size: int) -> int:
    """Where in the file a piece of memory is."""
    for load in found:
        if load.start <= address and address + size - 1 <= load.end:
            return load.offset + address - load.start
    raise AssertionError(f"the dump does not hold {address:x}")


def find_core_header(memory: bytes) -> Optional[bytes]:
    """The first page-aligned 64-bit ELF core header in a piece of memory, and what follows it."""
    for offset in range(0, len(memory), PAGE):
        is_elf64 = memory.startswith(b"\x7fELF\x02", offset)
        if is_elf64 and memory[offset + 16] == ET_CORE:
            return memory[offset:]
    return None
