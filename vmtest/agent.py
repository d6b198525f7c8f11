# SPDX-License-Identifier: GPL-2.0
"""The host's end of the guest channel; guest/agent is the other end and describes the format.

TimeoutError: the guest is too late. ConnectionError: it is gone.
"""

import base64
import socket
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    status: int
    output: bytes

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")


class Agent:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._received = b""
        self._deadline = 0.0
        self._busy = ""

    def wait_ready(self, seconds: float) -> None:
        """Until the guest's init has started, or after a crash the capture kernel's."""
        self._busy = "booting"
        self._deadline = time.monotonic() + seconds
        line = self._line()
        if line != b"ready":
            raise ConnectionError(f"the guest's agent said {line!r} instead of ready")
        self._busy = ""

    def restart(self, script: str, seconds: float) -> None:
        """Runs a script that ends with another kernel running, until the init of that has started."""
        self._send(script, seconds)
        self.wait_ready(seconds)

    def run(self, script: str, seconds: float) -> Result:
        """Runs a shell script in the guest. Past the deadline the channel is of no more use."""
        self._send(script, seconds)
        status, size = self._line().split()
        result = Result(int(status), self._bytes(int(size)))
        self._busy = ""
        return result

    def _send(self, script: str, seconds: float) -> None:
        if self._busy:
            raise TimeoutError(f"the guest is still at it: {self._busy}")
        self._busy = script
        self._deadline = time.monotonic() + seconds
        self._channel.settimeout(seconds)
        try:
            self._channel.sendall(base64.b64encode(script.encode()) + b"\n")
        except TimeoutError:
            raise TimeoutError(f"the guest does not take commands any more: {script}") from None
        except OSError as error:
            raise ConnectionError("QEMU closed the guest channel") from error

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            self._receive()
        line, self._received = self._received.split(b"\n", 1)
        return line

    def _bytes(self, size: int) -> bytes:
        chunks, missing = [self._received[:size]], size - len(self._received)
        self._received = self._received[size:]
        while missing > 0:
            self._receive()
            chunks.append(self._received[:missing])
            self._received, missing = self._received[missing:], missing - len(self._received)
        return b"".join(chunks)

    def _receive(self) -> None:
        left = self._deadline - time.monotonic()
        try:
            self._channel.settimeout(max(left, 0.001))
            data = self._channel.recv(1 << 20)
        except TimeoutError:
            raise TimeoutError(f"the guest did not answer in time: {self._busy}") from None
        except OSError as error:
            raise ConnectionError("QEMU closed the guest channel") from error
        if not data:
            raise ConnectionError("QEMU closed the guest channel")
        self._received += data
