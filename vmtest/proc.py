# SPDX-License-Identifier: GPL-2.0
"""Files of the guest's /proc and /sys, parsed."""

import re
from dataclasses import dataclass


def meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes (the few lines without a unit: as they are)."""
    values = {}
    for line in text.splitlines():
        name, value, *unit = line.split()
        values[name.rstrip(":")] = int(value) * (1024 if unit else 1)
    return values


@dataclass(frozen=True)
class Zone:
    """Sizes of a zone in pages."""

    spanned: int
    present: int
    managed: int


def free_in_zones(text: str) -> dict[str, int]:
    """Free pages in each zone of /proc/zoneinfo, those on lists of CPUs among them."""
    free = {}
    for part in re.split(r"^Node ", text, flags=re.MULTILINE)[1:]:
        node, zone = re.findall(r"^(\d+), zone +(\w+)", part)[0]
        counts = re.findall(r"^ +(?:pages free|count:) +(\d+)", part, flags=re.MULTILINE)
        free[f"{node}/{zone}"] = sum(map(int, counts))
    return free


def zoneinfo(text: str) -> dict[str, Zone]:
    """/proc/zoneinfo by "node/zone", such as "0/Movable"."""
    zones = {}
    for part in re.split(r"^Node ", text, flags=re.MULTILINE)[1:]:
        head = re.match(r"(\d+), zone +(\w+)", part)
        sizes = re.findall(r"^ +(spanned|present|managed) +(\d+)", part, flags=re.MULTILINE)
        if head is None or len(sizes) != 3:
            raise ValueError(f"not a zone of /proc/zoneinfo: {part[:200]!r}")
        zones[f"{head[1]}/{head[2]}"] = Zone(**{name: int(value) for name, value in sizes})
    return zones
