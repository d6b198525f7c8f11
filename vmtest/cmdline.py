# SPDX-License-Identifier: GPL-2.0
"""What guests' command lines are put together from."""

HOSTED = "memory_hotplug.memmap_on_memory=1"
# On a kernel whose pageblocks are larger than a memory map as well.
FORCED = "memory_hotplug.memmap_on_memory=force"

# What becomes of memory that is added.
OFFLINE = "memhp_default_state=offline"
ONLINE = "memhp_default_state=online"
KERNEL = "memhp_default_state=online_kernel"
MOVABLE = "memhp_default_state=online_movable"

# What elastic guests have.
HOSTED_MOVABLE = f"{HOSTED} {MOVABLE}"

CRASHKERNEL = "crashkernel=192M"


def movable(size: str) -> str:
    """So much of the memory a guest boots with can go: the kernel is not put there, as it is by chance."""
    return f"movablecore={size} nokaslr"
