# SPDX-License-Identifier: GPL-2.0
"""An interactive guest on this terminal, and the command that resizes its memory from another."""

import contextlib
import os
import socket

from vmtest import paths
from vmtest.cmdline import MOVABLE
from vmtest.errors import Failure
from vmtest.guest import claim
from vmtest.qemu import Machine
from vmtest.qmp import Qmp
from vmtest.units import format_size, parse_size
from vmtest.wait import wait_until

NAME = "shell"
DEVICE = "/machine/peripheral/vmem0"
SOCKET = "qmp.sock"


def main(kernel: str) -> None:
    directory, lock = claim(NAME)
    cmdline = f"vmtest.shell {MOVABLE}"
    machine = Machine(kernel, vmem=["16G"], cmdline=cmdline)
    command = machine.command()
    # A socket by its short name: a path from the root could be longer than the kernel allows.
    command += ["-serial", "mon:stdio", "-qmp", f"unix:{SOCKET},server=on,wait=off"]
    print(f"The {kernel} kernel, {machine.boot_memory()}, a virtio-mem device of 16 GiB with nothing plugged.")
    print("Resize it from a second terminal:")
    print(f"    cd {paths.ROOT} && BUILD={paths.BUILD} /usr/bin/python3 -m vmtest resize 2G")
    print("Look: cat /proc/iomem. Quit: poweroff -f, or Ctrl-A X.", flush=True)
    # QEMU takes this process's place, and the lock with it.
    os.set_inheritable(lock.fileno(), True)
    os.chdir(directory)
    os.execvp(command[0], command)


def resize(size: str) -> None:
    want = parse_size(size)
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with contextlib.chdir(paths.BUILD / "vm" / NAME):
                connection.connect(SOCKET)
        except OSError:
            raise Failure("there is no guest to resize: run `make shell` first") from None
        qmp = Qmp(connection)

        def plugged() -> int:
            return int(qmp.execute("qom-get", path=DEVICE, property="size"))

        qmp.execute("qom-set", path=DEVICE, property="requested-size", value=want)
        wait_until(
            lambda: plugged() == want, lambda: f"{format_size(plugged())} of {size} plugged"
        )
    print(f"{size} plugged")
