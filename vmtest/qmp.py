# SPDX-License-Identifier: GPL-2.0
"""QEMU's machine protocol: a command out, its result back, one JSON object a line."""

import json
import socket
from typing import Any

from vmtest.errors import Failure

SECONDS = 120.0


class Qmp:
    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        self._file = connection.makefile("rw", encoding="utf-8")
        self.events: list[dict[str, Any]] = []
        self._receive()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Runs `command`; events that arrive meanwhile are kept in `events`."""
        try:
            self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self._file.flush()
            while True:
                message = self._receive()
                if "error" in message:
                    raise Failure(f"QEMU refused {command} {arguments}: {message['error']['desc']}")
                if "return" in message:
                    return message["return"]
                self.events.append(message)
        except OSError as error:
            raise ConnectionError(f"QEMU does not answer {command}: {error}") from error

    def _receive(self) -> dict[str, Any]:
        line = self._file.readline()
        if not line:
            raise ConnectionError("QEMU closed the connection")
        message: dict[str, Any] = json.loads(line)
        return message
