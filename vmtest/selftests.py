# SPDX-License-Identifier: GPL-2.0
"""The kernel's own selftests, in a guest of the kernel whose source they are in."""

import base64
import io
import shutil
import tarfile
from pathlib import Path

from vmtest import initramfs, paths
from vmtest.errors import Failure
from vmtest.linux import Linux

SELFTESTS = "tools/testing/selftests"
# The two modules that a guest has are loaded and unloaded by name, and nothing else is.
MODPROBE = """#!/bin/sh
injectors="notifier-error-inject memory-notifier-error-inject"
if [ "$2" = -r ]; then
    rmmod memory-notifier-error-inject notifier-error-inject 2>/dev/null
else
    for injector in $injectors; do insmod /lib/modules/$injector.ko || exit 1; done
fi
"""


def bring(vm: Linux, *directories: str) -> None:
    """Puts selftests into a guest, below its working directory, with the bash that they are written for."""
    bash = shutil.which("bash")
    if bash is None:
        raise Failure("bash is not installed on this machine")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, file in {"/bin/bash": Path(bash), **initramfs.libraries(Path(bash))}.items():
            archive.add(file.resolve(), name)
        for directory in ("kselftest", *directories):
            archive.add(paths.source(vm.machine.kernel) / SELFTESTS / directory, f"run/{directory}")
    text = base64.b64encode(packed.getvalue()).decode()
    vm.sh(f"echo {text} | base64 -d | tar -xz -C / && mkdir -p /sbin")
    vm.sh(f"cat >/sbin/modprobe <<'end'\n{MODPROBE}end\nchmod 755 /sbin/modprobe")
