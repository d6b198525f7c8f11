# SPDX-License-Identifier: GPL-2.0
"""A guest that goes on in another QEMU: migrated live, or saved to a file and restored."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmtest.agent import Agent
from vmtest.errors import Failure
from vmtest.underqemu import UnderQemu
from vmtest.vm import VM
from vmtest.wait import POLL_SECONDS, SECONDS

LIVE = "unix:{path}"
FILE = "exec:cat >{path}", "exec:cat {path}"


class Moved(VM):
    """It is where `source` was when it has started, and `source` runs no more."""

    def __init__(self, name: str, source: VM, saved: bool = False) -> None:
        super().__init__(name, replace(source.machine, incoming=True))
        self._source, self._saved = source, saved

    def start(self) -> None:
        """Its driver is loaded, and its agent has said that it is ready."""
        UnderQemu.start(self)

    def connect(self, agent: Any) -> None:
        # The name of a socket must not be long.
        path = Path(self._stack.enter_context(tempfile.TemporaryDirectory()), "state")
        if self._saved:
            self._source.qemu("stop")
            migrate(self._source, FILE[0].format(path=path))
            self.qemu("migrate-incoming", uri=FILE[1].format(path=path))
        else:
            self.qemu("migrate-incoming", uri=LIVE.format(path=path))
            migrate(self._source, LIVE.format(path=path))
        wait_migrated(self)
        self.qemu("cont")
        self._agent = Agent(agent)


def migrate(source: VM, uri: str) -> None:
    """As fast as it goes, with a pause of the guest that an emulated one can keep."""
    source.qemu("migrate-set-parameters", **{"max-bandwidth": 1 << 40, "downtime-limit": 5000})
    source.qemu("migrate", uri=uri)
    wait_migrated(source)


def wait_migrated(vm: VM) -> None:
    deadline = time.monotonic() + SECONDS
    while (state := vm.qemu("query-migrate").get("status")) != "completed":
        if state == "failed" or time.monotonic() > deadline:
            raise Failure(f"guest {vm.name}: its migration is {state}\n{vm.log()[-2000:]}")
        time.sleep(POLL_SECONDS)
