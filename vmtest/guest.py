# SPDX-License-Identifier: GPL-2.0
"""A guest that answers: its life, its console, and the shell in it."""

import contextlib
import fcntl
import re
import socket
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Iterable, Iterator, Self, TextIO

from vmtest import console, paths
from vmtest.agent import Agent, Result
from vmtest.errors import Failure
from vmtest.qemu import Machine

# On a busy machine; an idle one needs 4 s to boot.
BOOT_SECONDS = 400.0
RUN_SECONDS = 120.0
# A kernel that boots says something more often than that, on a busy machine, too.
SILENT_SECONDS = 45.0
FIRST_PROCESS = re.compile(r"Run \S+ as init process")
BOOTS = 3
HANGS = paths.BUILD / "log" / "hangs.log"  # those that were repeated


def claim(name: str) -> tuple[Path, TextIO]:
    """A directory for the files of a guest, and the lock that keeps others out while it is open."""
    directory = paths.BUILD / "vm" / name
    directory.mkdir(parents=True, exist_ok=True)
    lock = open(directory / "lock", "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Failure(f"a guest named {name} is running already; end it, or wait for it") from None
    return directory, lock


def note_hang(hung: Failure) -> None:
    HANGS.parent.mkdir(parents=True, exist_ok=True)
    with open(HANGS, "a", encoding="utf-8") as log:
        log.write(f"{hung}\n\n")


class Hung(Failure):
    """A guest fell silent before its first process."""


class Guest(ABC):
    """Runs while the `with` block does, which boots it. Its files are in build/vm/<name>."""

    boot_seconds = BOOT_SECONDS
    console_file = "console.log"

    def __init__(self, name: str, machine: Machine) -> None:
        self.name = name
        self.machine = machine
        self.directory = paths.BUILD / "vm" / name
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for _ in range(BOOTS - 1):
            try:
                return self._boot()
            except Hung as hung:
                note_hang(hung)
        return self._boot()

    def _boot(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    @abstractmethod
    def start(self) -> None:
        """Boots it, until it answers. What ends it goes to self._stack."""

    def claim(self) -> None:
        """Takes its directory, with nothing on its console yet."""
        self._stack.enter_context(claim(self.name)[1])
        (self.directory / self.console_file).write_bytes(b"")

    def connect(self, agent: socket.socket) -> None:
        """Until the guest answers."""
        self._agent = Agent(agent)
        self.wait_booted()

    def wait_booted(self) -> None:
        """Until the guest answers; once more after a crash, when the capture kernel does."""
        with self.explained("does not boot"):
            self._wait_ready()

    def _wait_ready(self) -> None:
        """QEMU's emulation of more than one CPU can hang a kernel that boots, the base as well, when it first has all
        of them switch to another clock. That is long before there is memory to plug."""
        deadline, said = time.monotonic() + self.boot_seconds, -1
        while True:
            try:
                return self._agent.wait_ready(min(SILENT_SECONDS, self.boot_seconds))
            except TimeoutError:
                console = self.console()
                if len(console) == said and not FIRST_PROCESS.search(console):
                    where = "\n".join(self.where())
                    raise Hung(f"guest {self.name} hangs while it boots:\n{console[-500:]}\n{where}") from None
                if time.monotonic() >= deadline:
                    raise
                said = len(console)

    def restart(self, script: str) -> None:
        """Runs a script in the guest that ends with another kernel running; waits for that."""
        with self.explained("does not boot"):
            self._agent.restart(script, self.boot_seconds)

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """A guest that died or hangs is reported with the last words of its console."""
        try:
            yield
        except (ConnectionError, TimeoutError) as error:
            last = console.last_words(self.log())
            where = "\n".join(self.where()) if isinstance(error, TimeoutError) else ""
            raise Failure(f"guest {self.name} {what}: {error}\n{last}\n{where}") from None

    def where(self) -> list[str]:
        """What the CPUs of a guest that hangs are at, if somebody can be asked."""
        return []

    def run(self, script: str, seconds: float = RUN_SECONDS) -> Result:
        """Runs a shell script in the guest."""
        with self.explained("is lost"):
            return self._agent.run(script, seconds)

    def sh(self, script: str, seconds: float = RUN_SECONDS) -> str:
        """Runs a shell script that has to succeed; what it prints, without the last newline."""
        result = self.run(script, seconds)
        if result.status != 0:
            raise Failure(f"in guest {self.name}: {script}: status {result.status}: {result.text}")
        return result.text.rstrip("\n")

    def log(self) -> str:
        """What is of use to find out what a guest died of."""
        return (self.directory / "qemu.log").read_text(errors="replace") + self.console()

    def console(self) -> str:
        return (self.directory / self.console_file).read_text(errors="replace")

    def last_words(self) -> str:
        return console.last_words(self.console())

    def complaints(self, expected: Iterable[str] = ()) -> list[str]:
        """What the kernel complained about so far, apart from what is expected."""
        return console.complaints(self.console(), expected)
