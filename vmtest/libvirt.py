# SPDX-License-Identifier: GPL-2.0
"""The Debian guest under libvirt: a libvirtd that belongs to the guest alone, with no file outside its directories."""

import os
import socket
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from vmtest import paths
from vmtest.debian import INITRD, KERNEL, OVERLAY, Computer, made, make_overlay
from vmtest.errors import Failure
from vmtest.linux import Linux
from vmtest.qemu import UNHURRIED
from vmtest.units import KIB, parse_size
from vmtest.vmem import Driver, Vmem
from vmtest.wait import wait_until

DOMAIN = "debian"


class VirshVmem(Vmem):
    """The only one of its guest. virsh is asked to resize it, and what it has."""

    def __init__(self, guest: "UnderLibvirt") -> None:
        super().__init__(guest, Driver(guest), "virtio-mem device")
        self._virsh = guest.virsh

    def request(self, size: str) -> None:
        self._virsh("update-memory-device", DOMAIN, "--requested-size", f"{parse_size(size) // KIB}KiB")

    def plugged(self) -> int:
        found = ElementTree.fromstring(self._virsh("dumpxml", DOMAIN)).find(".//memory/target/current")
        assert found is not None and found.get("unit") == "KiB"
        return int(found.text or "") * KIB

    def covered(self) -> int:
        return self._driver.added()


class UnderLibvirt(Linux):
    """Has one virtio-mem device."""

    machine: Computer

    def __init__(self, name: str, machine: Computer) -> None:
        super().__init__(name, machine)
        self.vmem = [VirshVmem(self)]

    def start(self) -> None:
        self.claim()
        make_overlay(self.machine.disk, self.directory / OVERLAY)
        # The name of a socket has to be short.
        self._sockets = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._start_daemon()
        definition = self.directory / "domain.xml"
        definition.write_text(self._definition())
        self.virsh("define", str(definition))
        self.virsh("start", DOMAIN)
        agent = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        agent.connect(str(self._sockets / "agent"))
        self.connect(agent)

    def _start_daemon(self) -> None:
        # Not as root, so that it is a session's; what it starts ends with it, and it with us.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--user", "--map-user=1000", "--map-group=1000"]
        command += ["--pid", "--fork", "--kill-child", "--mount-proc", "/usr/sbin/libvirtd", "--config", "/dev/null"]
        names = ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"]
        environment = os.environ | {name: str(self._sockets) for name in names}
        with open(self.directory / "qemu.log", "wb") as log:
            daemon = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._stack.callback(daemon.wait)
        self._stack.callback(daemon.kill)
        wait_until(self._socket.exists, lambda: f"libvirtd does not start:\n{self.log()}")

    @property
    def _socket(self) -> Path:
        return self._sockets / "libvirt/libvirt-sock"

    def virsh(self, *arguments: str) -> str:
        command = ["virsh", "-c", f"qemu+unix:///session?socket={self._socket}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"virsh {' '.join(arguments)}: {done.stderr.strip()}\n{self.log()}")
        return done.stdout

    def _definition(self) -> str:
        boot, size = (parse_size(text) // KIB for text in [self.machine.memory, self.machine.vmem[0]])
        text = (paths.ROOT / "guest/domain.xml").read_text()
        return text.format(
            boot=boot,
            size=size,
            all=boot + size,
            most=4 * (boot + size),
            kernel=made(KERNEL),
            initrd=made(INITRD),
            cmdline=escape(f"root=/dev/vda rw console=ttyS0 {UNHURRIED} {self.machine.cmdline}"),
            disk=self.directory / OVERLAY,
            console=self.directory / self.console_file,
            agent=self._sockets / "agent",
        )
