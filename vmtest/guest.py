"""A guest's process, and the channels to it."""

import contextlib
import fcntl
import socket
import subprocess
from pathlib import Path
from typing import Any, Iterable, Iterator, Self, TextIO

from vmtest import console, paths
from vmtest.agent import Agent, Result
from vmtest.errors import Failure
from vmtest.qemu import Machine
from vmtest.qmp import Qmp

BOOT_SECONDS = 120.0
RUN_SECONDS = 60.0


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


class Guest:
    """A running guest. Its files are in build/vm/<name>; leaving the `with` block ends it."""

    def __init__(self, name: str, machine: Machine) -> None:
        self.name = name
        self.machine = machine
        self._stack = contextlib.ExitStack()
        try:
            self.start()
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
        # Connected sockets that QEMU inherits: no names, nothing left behind, no other client.
        qmp, qmp_end = self._pair()
        agent, agent_end = self._pair()
        command += ["-serial", f"file:{self._console.name}"]
        command += ["-chardev", f"socket,id=qmp,fd={qmp_end.fileno()}", "-mon", "qmp,mode=control"]
        command += ["-chardev", f"socket,id=agent,fd={agent_end.fileno()}"]
        command += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent"]
        self._console.write_bytes(b"")
        with open(self.directory / "qemu.log", "wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(qmp_end.fileno(), agent_end.fileno()),
            )
        self._stack.callback(self._kill)
        qmp_end.close()
        agent_end.close()
        with self._explained("does not start"):
            self._qmp = Qmp(qmp)
        self._agent = Agent(agent)
        self.wait_booted()

    def wait_booted(self) -> None:
        """Until the guest answers; once more after a crash, when the capture kernel does."""
        with self._explained("does not boot"):
            self._agent.wait_ready(BOOT_SECONDS)

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
            qemu = (self.directory / "qemu.log").read_text(errors="replace")
            last = console.last_words(qemu + self.console())
            raise Failure(f"guest {self.name} {what}: {error}\n{last}") from None

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

    def console(self) -> str:
        return self._console.read_text(errors="replace")

    def complaints(self, expected: Iterable[str] = ()) -> list[str]:
        """What the kernel complained about so far, apart from what is expected."""
        return console.complaints(self.console(), expected)
