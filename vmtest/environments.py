# SPDX-License-Identifier: GPL-2.0
"""What scenarios need besides QEMU as it is installed: kernels, and what guests run under. Each says how to tell that
it is there, and which of our tools fetches or builds it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable

from vmtest import debian, hyperv, paths, xen
from vmtest.errors import Failure
from vmtest.flavours import ARCHITECTURES, FLAVOURS, HOST, architecture, compared

LACKING = 69  # what a tool ends with if this machine lacks a means: `lack` in tools/lib.sh


@dataclass(frozen=True)
class Need:
    """Something that has to be there, and the tool that makes it or brings it up to date."""

    there: Path
    tool: tuple[str, ...]

    def make(self) -> str:
        """Why this machine cannot have it; nothing if it has it now."""
        # It ends what it started when it is told to end: here after Ctrl-C, or when we are gone.
        command = ["setpriv", "--pdeathsig", "TERM", str(paths.ROOT / self.tool[0]), *self.tool[1:]]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            try:
                said = process.communicate()[1]
            finally:
                process.terminate()
                process.wait()
        print(said, end="", file=sys.stderr, flush=True)
        if process.returncode not in (0, LACKING):
            raise Failure(f"{' '.join(self.tool)} failed; see the lines above")
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        return errors[-1].removeprefix("error: ") if process.returncode else ""


def kernel(name: str) -> Need:
    return Need(paths.objects(name) / architecture(name).image, ("tools/build", name))


@dataclass(frozen=True)
class Environment:
    name: str
    first: tuple[Need, ...] = ()
    boots: tuple[str, ...] = ("",)  # the kernels, by what their names have behind that of the scenario's
    architectures: tuple[str, ...] = (HOST,)

    def needs(self, of: str) -> Iterable[Need]:
        """All that a scenario of the kernel `of` needs, or of both that are compared."""
        yield from self.first
        for one in compared(of):
            yield from (kernel(one + suffix) for suffix in self.boots if one + suffix in FLAVOURS)


PLAIN = Environment("plain", architectures=tuple(ARCHITECTURES))
PAGES_64K = Environment("pages-64k", boots=(paths.LARGE_PAGES,), architectures=("arm64",))
MAKEDUMPFILE = Environment("makedumpfile", (Need(paths.BUILD / "makedumpfile/makedumpfile", ("tools/makedumpfile",)),))
XEN = Environment("xen", (Need(xen.FETCHED.pins, ("tools/xen",)),), ("", paths.BALLOONED))
HYPERV = Environment("hyperv", (Need(hyperv.FETCHED.pins, ("tools/hyperv",)),))
DEBIAN = Environment("debian", (Need(debian.INSTALLED, ("tools/debian",)),), ())
LIBVIRT = Environment("libvirt", (Need(Path("/usr/sbin/libvirtd"), ("tools/setup", "libvirt")), *DEBIAN.first), ())


def prepare(wanted: Iterable[tuple[Environment, str]], build: bool) -> dict[str, str]:
    """Makes what is not there, or if asked to `build`, brings all up to date. Says which environments this machine
    lacks, and why."""
    made: dict[Need, str] = {}
    lacking: dict[str, str] = {}
    for environment, of in wanted:
        for need in environment.needs(of) if environment.name not in lacking else ():
            if need not in made:
                made[need] = need.make() if build or not need.there.exists() else ""
            if made[need] and environment == PLAIN:
                raise Failure(made[need])  # nothing would run
            if made[need]:
                lacking[environment.name] = made[need]
                break
    return lacking
