"""A guest's process, and the channels to it."""

import contextlib
import fcntl
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Iterable, Iterator, Self, Sequence, TextIO

from vmtest import console, paths
from vmtest.agent import Agent, Result
from vmtest.errors import Failure
from vmtest.qemu import Machine
from vmtest.qmp import Qmp

# On a busy machine; an idle one needs 4 s to boot.
BOOT_SECONDS = 400.0
RUN_SECONDS = 120.0
# A kernel that boots says something more often than that, on a busy machine, too.
SILENT_SECONDS = 45.0
FIRST_PROCESS = re.compile(r"Run \S+ as init process")
BOOTS = 3
HANGS = paths.BUILD / "log" / "hangs.log"  # those that were repeated
# Of QEMU's words: where a CPU is, whether it is halted, its timer, and which interrupts wait.
CPU_STATE = re.compile(r"RIP=|^(LVTT|Timer|ISR|IRR)\b")


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


class Guest:
    """A running guest. Its files are in build/vm/<name>; leaving the `with` block ends it."""

    boot_seconds = BOOT_SECONDS

    def __init__(self, name: str, machine: Machine, ports: Sequence[str] = ()) -> None:
        """`ports` are further virtio ports of the guest, behind the one of its agent."""
        self.name = name
        self.machine = machine
        self._channels = ["agent", *ports]
        self._stack = contextlib.ExitStack()
        for boot in range(1, BOOTS + 1):
            try:
                self.start()
                break
            except Hung as hung:
                self.close()
                if boot == BOOTS:
                    raise
                note_hang(hung)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> None:
        command = self.machine.command()
        self.directory, lock = claim(self.name)
        self._stack.enter_context(lock)
        self._console = self.directory / "console.log"
        self.prepare()
        # Connected sockets that QEMU inherits: no names, nothing left behind, no other client.
        pairs = {name: self._pair() for name in ["qmp", *self._channels]}
        command += ["-serial", f"file:{self._console.name}"]
        for name, (_, end) in pairs.items():
            command += ["-chardev", f"socket,id={name},fd={end.fileno()}"]
        command += ["-mon", "qmp,mode=control", "-device", self.machine.channel]
        for name in self._channels:
            command += ["-device", f"virtserialport,chardev={name}"]
        self._console.write_bytes(b"")
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
        self.connect(self.sockets["qmp"], self.sockets["agent"])

    def prepare(self) -> None:
        """What has to be in its directory before QEMU starts."""

    def connect(self, qmp: socket.socket, agent: socket.socket) -> None:
        """Until QEMU and then the guest answer."""
        with self._explained("does not start"):
            self._qmp = Qmp(qmp)
        self._agent = Agent(agent)
        self.wait_booted()

    def wait_booted(self) -> None:
        """Until the guest answers; once more after a crash, when the capture kernel does."""
        with self._explained("does not boot"):
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
                    where = "\n".join(self._where())
                    raise Hung(f"guest {self.name} hangs while it boots:\n{console[-500:]}\n{where}") from None
                if time.monotonic() >= deadline:
                    raise
                said = len(console)

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        ours, qemus = socket.socketpair()
        self._stack.callback(ours.close)
        self._stack.callback(qemus.close)
        return ours, qemus

    @property
    def pid(self) -> int:
        return self._process.pid

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """A guest that died or hangs is reported with the last words of its console."""
        try:
            yield
        except (ConnectionError, TimeoutError) as error:
            last = console.last_words(self.log())
            where = "\n".join(self._where()) if isinstance(error, TimeoutError) else ""
            raise Failure(f"guest {self.name} {what}: {error}\n{last}\n{where}") from None

    def _where(self) -> Iterator[str]:
        """What the CPUs of a guest that hangs are at: QEMU knows, even where the console is silent."""
        asked = ["info registers -a", *(f"info lapic {cpu}" for cpu in range(self.machine.cpus))]
        with contextlib.suppress(ConnectionError, TimeoutError, Failure, AttributeError):
            for command in asked:
                said = self._qmp.execute("human-monitor-command", **{"command-line": command})
                yield from (f"  | {line.strip()}" for line in said.splitlines() if CPU_STATE.search(line))

    @property
    def events(self) -> list[dict[str, Any]]:
        """What QEMU has reported of its own accord."""
        return self._qmp.events

    def qemu(self, command: str, **arguments: Any) -> Any:
        """Runs a QMP command."""
        with self._explained("is lost"):
            return self._qmp.execute(command, **arguments)

    def run(self, script: str, seconds: float = RUN_SECONDS) -> Result:
        """Runs a shell script in the guest."""
        with self._explained("is lost"):
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
        return self._console.read_text(errors="replace")

    def complaints(self, expected: Iterable[str] = ()) -> list[str]:
        """What the kernel complained about so far, apart from what is expected."""
        return console.complaints(self.console(), expected)
