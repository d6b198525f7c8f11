# SPDX-License-Identifier: GPL-2.0
"""What a kernel computes from the memory that it boots with, as a guest shows it."""

import re

from vmtest.linux import Linux

# The kernel raises them when it gets memory that it can use for its own data, unless somebody has written them.
FOLLOWING = {
    "threads-max": "/proc/sys/kernel/threads-max",
    "user namespaces": "/proc/sys/user/max_user_namespaces",
    "network namespaces": "/proc/sys/user/max_net_namespaces",
    "inotify watches": "/proc/sys/fs/inotify/max_user_watches",
    "fanotify marks": "/proc/sys/fs/fanotify/max_user_marks",
    "epoll watches": "/proc/sys/fs/epoll/max_user_watches",
}
# Others that a file shows.
SHOWN = {
    "min_free_kbytes": "/proc/sys/vm/min_free_kbytes",
    "file-max": "/proc/sys/fs/file-max",
}
THP = "/sys/kernel/mm/transparent_hugepage"
THP_CONTROLS = ("enabled", "defrag", "use_zero_page", "khugepaged/defrag")


def following(guest: Linux) -> dict[str, int]:
    return {name: int(guest.sh(f"cat {path}")) for name, path in FOLLOWING.items()}


def thp(guest: Linux) -> dict[str, str]:
    """What is chosen in each control of transparent huge pages."""
    said = {name: guest.sh(f"cat {THP}/{name}").strip() for name in THP_CONTROLS}
    chosen = {name: re.search(r"\[(\S+)\]", text) for name, text in said.items()}
    return {name: match[1] if match else said[name] for name, match in chosen.items()}


def others(guest: Linux) -> dict[str, int]:
    """What does not follow, or has done so for long."""
    found = {name: int(guest.sh(f"cat {path}")) for name, path in SHOWN.items()}
    for name, line in (("RLIMIT_NPROC", "Max processes"), ("RLIMIT_SIGPENDING", "Max pending signals")):
        found[name] = int(guest.sh(f"sed -n 's/^{line} *\\([0-9]*\\).*/\\1/p' /proc/self/limits"))
    log = guest.sh("dmesg")
    for name in ("Dentry cache", "Inode-cache"):
        entries = re.search(rf"{name} hash table entries: (\d+)", log)
        found[f"{name} hash"] = int(entries[1]) if entries else 0
    return found


def tmpfs_size(guest: Linux, mounted: str) -> int:
    """In KiB."""
    return int(guest.sh(f"df -k {mounted} | awk 'END {{ print $2 }}'"))
