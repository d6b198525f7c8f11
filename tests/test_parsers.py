# SPDX-License-Identifier: GPL-2.0
"""What guests print, read back."""

import pytest

import recorded
from vmtest import elf, proc
from vmtest.iomem import Iomem
from vmtest.units import MIB, PAGE, format_size, parse_size


def test_iomem_nests_as_printed() -> None:
    iomem = Iomem(recorded.text("iomem.txt"))
    assert len(iomem) == 39
    assert [str(entry) for entry in iomem.under("virtio0")] == [
        "100000000-13fffffff : System RAM (virtio_mem)",
        "148000000-17fffffff : System RAM (virtio_mem)",
    ]
    assert [entry.size for entry in iomem.under("virtio1")] == [512 * MIB]
    assert len(iomem.system_ram("virtio_mem")) == 3
    # Three deep, and back to the top.
    (reserved,) = iomem.under("PCI ECAM 0000 [bus 00-ff]")
    assert [str(entry) for entry in reserved.children] == ["b0000000-bfffffff : PNP0C01:00"]
    assert str(iomem.top[-1]) == "fd00000000-ffffffffff : Reserved"


def test_iomem_names_what_is_not_there_or_not_alone() -> None:
    iomem = Iomem(recorded.text("iomem.txt"))
    with pytest.raises(AssertionError, match="0 resources are named 'virtio2'"):
        iomem.one("virtio2")
    with pytest.raises(AssertionError, match="3 resources are named"):
        iomem.one("System RAM (virtio_mem)")
    with pytest.raises(ValueError, match="not a line of /proc/iomem"):
        Iomem("00000000-00000fff Reserved")


def test_zoneinfo_and_meminfo() -> None:
    zones = proc.zoneinfo(recorded.text("zoneinfo.txt"))
    assert list(zones) == ["0/DMA32", "0/Normal", "0/Movable", "0/Device"]
    assert zones["0/Movable"] == proc.Zone(spanned=1179648, present=622592, managed=622592)
    assert zones["0/Normal"] == proc.Zone(spanned=0, present=0, managed=0)
    meminfo = proc.meminfo(recorded.text("meminfo.txt"))
    # MemTotal is what all zones manage.
    assert meminfo["MemTotal"] == sum(zone.managed for zone in zones.values()) * 4096


def test_free_pages_on_lists_of_cpus_count() -> None:
    free = proc.free_in_zones(recorded.text("zoneinfo.txt"))
    assert free["0/DMA32"] == 61932 + 933 + 176
    assert free["0/Movable"] == 622475 + 61 + 55
    assert free["0/Normal"] == 0


def test_zoneinfo_without_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match="not a zone"):
        proc.zoneinfo("Node 0, zone   Normal\n  pages free     5\n")


def test_crash_header() -> None:
    loads = elf.loads(recorded.data("core-header.bin"))
    assert [str(load) for load in loads if load.start >= 1 << 32] == [
        "100000000-17fffffff",
        "200000000-21fffffff",
    ]
    assert len(loads) == 4


def test_crash_header_is_found_in_memory() -> None:
    header = recorded.data("core-header.bin")
    executable = bytearray(header)
    executable[16] = 2  # ET_EXEC, such as the crash kernel itself
    page = bytes(PAGE)
    unaligned = b"\0" * 8 + header
    pieces = [page, bytes(executable), unaligned, header]
    memory = b"".join(piece.ljust(PAGE, b"\0") for piece in pieces)
    found = elf.find_core_header(memory)
    assert found is not None and found.startswith(header)
    assert len(found) == PAGE
    assert elf.find_core_header(memory[: 3 * PAGE]) is None


@pytest.mark.parametrize("size", ["0", "1", "2M", "130M", "64G", "3T"])
def test_sizes_are_read_and_written_alike(size: str) -> None:
    assert format_size(parse_size(size)) == size


@pytest.mark.parametrize("text", ["", "M", "2MB", "-1G", "1.5G"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)
