# SPDX-License-Identifier: GPL-2.0
"""Kernel modules of our own, built for the guest's kernel outside of its sources."""

import base64
import fcntl
import shutil
from pathlib import Path
from typing import Iterable

from vmtest import paths
from vmtest.kmake import kmake
from vmtest.linux import Linux


def built(kernel: str, directory: str) -> bytes:
    """The module whose source is in a directory of this repository."""
    name = Path(directory).name
    into = paths.BUILD / "modules" / kernel / name
    into.parent.mkdir(parents=True, exist_ok=True)
    with open(into.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # for as long as the file is open
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(paths.ROOT / directory, into)
        kmake(kernel, f"M={into}", "modules")
        return (into / f"{name}.ko").read_bytes()


def bring(vm: Linux, directory: str) -> str:
    """Puts a module into a guest; the file there."""
    file = f"/run/{Path(directory).name}.ko"
    module = base64.b64encode(built(vm.machine.kernel, directory)).decode()
    vm.sh(f"echo {module} | base64 -d >{file}")
    return file


def load(vm: Linux, directory: str, parameters: str = "") -> None:
    """Brings a module and loads it."""
    vm.sh(f"insmod {bring(vm, directory)} {parameters}")


def insmod(file: str, symbols: Iterable[str], parameters: str = "") -> str:
    """The command that loads a module and passes it the addresses of functions that the kernel
    does not export, as parameters of their names."""
    found = "".join(
        f"set -- $(grep -w '{name}$' /proc/kallsyms); a=\"$a {name}=0x$1\"; " for name in symbols
    )
    return f"a=; {found}insmod {file} {parameters} $a"
