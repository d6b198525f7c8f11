# SPDX-License-Identifier: GPL-2.0
"""The two channels to a guest, against a made-up other end."""

import base64
import json
import socket
import threading
from typing import Callable, Iterator

import pytest

from vmtest.agent import Agent, Result
from vmtest.errors import Failure
from vmtest.qmp import Qmp

Peer = Callable[[socket.socket], None]


@pytest.fixture
def connect() -> Iterator[Callable[[Peer], socket.socket]]:
    """Our end of a connection whose other end is served by a function in a thread."""
    ours, theirs = socket.socketpair()
    threads: list[threading.Thread] = []

    def start(peer: Peer) -> socket.socket:
        def serve() -> None:
            with theirs:
                peer(theirs)

        threads.append(threading.Thread(target=serve))
        threads[0].start()
        return ours

    yield start
    ours.close()
    threads[0].join()


Connect = Callable[[Peer], socket.socket]


def test_agent_puts_answers_together_from_pieces(connect: Connect) -> None:
    output = b"one\ntwo\n" * 100000

    def guest(channel: socket.socket) -> None:
        channel.sendall(b"rea")
        channel.sendall(b"dy\n")
        script = base64.b64decode(channel.recv(4096)).decode()
        assert script == "seq"
        channel.sendall(f"3 {len(output)}".encode())
        channel.sendall(b"\n" + output)
        channel.recv(4096)
        channel.sendall(b"0 0\n")

    agent = Agent(connect(guest))
    agent.wait_ready(10)
    assert agent.run("seq", 10) == Result(3, output)
    assert agent.run("true", 10) == Result(0, b"")


def test_agent_waits_for_the_next_kernel(connect: Connect) -> None:
    def guest(channel: socket.socket) -> None:
        channel.sendall(b"ready\n")
        assert base64.b64decode(channel.recv(4096)) == b"kexec -e"
        channel.sendall(b"ready\n")
        channel.recv(4096)
        channel.sendall(b"0 0\n")

    agent = Agent(connect(guest))
    agent.wait_ready(10)
    agent.restart("kexec -e", 10)
    assert agent.run("true", 10) == Result(0, b"")


def test_agent_tells_that_there_is_no_next_kernel(connect: Connect) -> None:
    def guest(channel: socket.socket) -> None:
        channel.sendall(b"ready\n")
        channel.recv(4096)
        channel.sendall(b"1 0\n")

    agent = Agent(connect(guest))
    agent.wait_ready(10)
    with pytest.raises(ConnectionError, match="instead of ready"):
        agent.restart("kexec -e", 10)


def test_agent_gives_up_at_the_deadline_and_stays_so(connect: Connect) -> None:
    def silent_guest(channel: socket.socket) -> None:
        while channel.recv(4096):
            pass

    agent = Agent(connect(silent_guest))
    with pytest.raises(TimeoutError, match="did not answer in time: sleep 9"):
        agent.run("sleep 9", 0.1)
    with pytest.raises(TimeoutError, match="still at it: sleep 9"):
        agent.run("true", 10)


def test_agent_notices_a_guest_that_ends(connect: Connect) -> None:
    agent = Agent(connect(lambda channel: channel.sendall(b"0 100\nhalf of it")))
    with pytest.raises(ConnectionError):
        agent.run("cat /proc/iomem", 10)


def qemu(answers: list[object]) -> Peer:
    """Sends a greeting, then for each command one answer, or several."""

    def serve(channel: socket.socket) -> None:
        with channel.makefile("rw") as file:
            for answer in [{"QMP": {}}, {"return": {}}, *answers]:
                lines = answer if isinstance(answer, list) else [answer]
                file.write("".join(json.dumps(line) + "\n" for line in lines))
                file.flush()
                file.readline()

    return serve


def test_qmp_returns_results_and_keeps_events(connect: Connect) -> None:
    event = {"event": "MEMORY_DEVICE_SIZE_CHANGE"}
    qmp = Qmp(connect(qemu([[event, {"return": 2097152}]])))
    assert qmp.execute("qom-get", path="/machine", property="size") == 2097152
    assert qmp.events == [event]


def test_qmp_errors_name_the_command(connect: Connect) -> None:
    qmp = Qmp(connect(qemu([{"error": {"class": "GenericError", "desc": "no such device"}}])))
    with pytest.raises(Failure, match="QEMU refused device_del .*no such device"):
        qmp.execute("device_del", id="dimm7")


def test_qmp_notices_a_qemu_that_ends(connect: Connect) -> None:
    qmp = Qmp(connect(qemu([])))
    with pytest.raises(ConnectionError, match="does not answer stop"):
        qmp.execute("stop")
