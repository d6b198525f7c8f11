# SPDX-License-Identifier: GPL-2.0
"""Files recorded from real guests: the base kernel with two virtio-mem devices of 4G and 1G.

vmem0 has 2 GiB less one block in the middle (offlined, then given back), vmem1 has 512 MiB. The
crash header is the one the base kernel had at that time; it still lists the block that is gone.
panic.log is the console of a guest that panicked on an NMI. resource.ktap is the result of the
mainline KUnit suite.
"""

from pathlib import Path

DATA = Path(__file__).parent / "data"


def text(name: str) -> str:
    return (DATA / name).read_text()


def data(name: str) -> bytes:
    return (DATA / name).read_bytes()
