# SPDX-License-Identifier: GPL-2.0
"""A guest whose QEMU is asked as well, and one whose QEMU is started for it."""

import contextlib
import re
import socket
import subprocess
from typing import Any, Sequence

from vmtest.errors import Failure
from vmtest.linux import Linux
from vmtest.qemu import Machine
from vmtest.qmp import Qmp

# Of QEMU's words: where a CPU is, whether it is halted, its timer, and which interrupts wait.
CPU_STATE = re.compile(r"RIP=|PC=|^(LVTT|Timer|ISR|IRR)\b")


class Monitored(Linux):
    """A guest whose QEMU answers by QMP."""

    def connect_qemu(self, qmp: socket.socket) -> None:
        """Until QEMU answers."""
        with self.explained("does not start"):
            self._qmp = Qmp(qmp)

    def qemu(self, command: str, **arguments: Any) -> Any:
        """Runs a QMP command."""
        with self.explained("is lost"):
            return self._qmp.execute(command, **arguments)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What QEMU has reported of its own accord."""
        return self._qmp.events

    def where(self) -> list[str]:
        """QEMU knows, even where the console is silent."""
        asked = ["info registers -a", *(f"info lapic {cpu}" for cpu in range(self.machine.cpus))]
        lines: list[str] = []
        connected = hasattr(self, "_qmp")
        with contextlib.suppress(ConnectionError, TimeoutError, Failure):
            for command in asked if connected else []:
                lines += self._qmp.execute("human-monitor-command", **{"command-line": command}).splitlines()
        return [f"  | {line.strip()}" for line in lines if CPU_STATE.search(line)]


class UnderQemu(Monitored):
    """A guest in a QEMU of its own."""

    def __init__(self, name: str, machine: Machine, ports: Sequence[str] = ()) -> None:
        """`ports` are further virtio ports of the guest, behind the one of its agent."""
        super().__init__(name, machine)
        self._channels = ["agent", *ports]

    def start(self) -> None:
        command = self.machine.command()
        self.claim()
        self.prepare()
        # Connected sockets that QEMU inherits: no names, nothing left behind, no other client.
        pairs = {name: self._pair() for name in ["qmp", *self._channels]}
        command += ["-serial", f"file:{self.console_file}"]
        for name, (_, end) in pairs.items():
            command += ["-chardev", f"socket,id={name},fd={end.fileno()}"]
        command += ["-mon", "qmp,mode=control", "-device", self.machine.channel]
        for name in self._channels:
            command += ["-device", f"virtserialport,chardev={name}"]
        with open(self.directory / "qemu.log", "wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[end.fileno() for _, end in pairs.values()],
            )
        self._stack.callback(self._kill)
        for _, end in pairs.values():
            end.close()
        self.sockets = {name: ours for name, (ours, _) in pairs.items()}
        self.connect_qemu(self.sockets["qmp"])
        self.connect(self.sockets["agent"])

    def prepare(self) -> None:
        """What has to be in its directory before QEMU starts."""

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        ours, qemus = socket.socketpair()
        self._stack.callback(ours.close)
        self._stack.callback(qemus.close)
        return ours, qemus

    def physical(self, address: int, size: int) -> bytes:
        """The machine's memory, read behind the guest's back."""
        file = self.directory / "memory.bin"
        self.qemu("pmemsave", val=address, size=size, filename=file.name)
        try:
            return file.read_bytes()
        finally:
            file.unlink()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait_ended(self) -> None:
        """Until a guest that was told to shut down has done so."""
        try:
            self._process.wait(self.boot_seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"guest {self.name} does not shut down:\n{self.last_words()}") from None
