# SPDX-License-Identifier: GPL-2.0
"""The guest's initramfs: busybox, kexec, modules of its kernel and guest/init, for its architecture.

The kernel's own usr/gen_init_cpio writes the archive from a list; the list and the size and time
of every file in it are kept beside the image, which is built again only when they change.
"""

import gzip
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Sequence

from vmtest import paths
from vmtest.errors import Failure
from vmtest.elf import needed
from vmtest.flavours import HOST, architecture, flavour

IMAGES = paths.BUILD / "guest"
VIRTIO_MEM = "/lib/modules/virtio_mem.ko"
PROGRAMS = ("canary", "fragment", "grants", "pin", "poison", "xenmem")
INJECTORS = {
    "CONFIG_NOTIFIER_ERROR_INJECTION": "lib/notifier-error-inject.ko",
    "CONFIG_MEMORY_NOTIFIER_ERROR_INJECT": "lib/memory-notifier-error-inject.ko",
    "CONFIG_HWPOISON_INJECT": "mm/hwpoison-inject.ko",
}
CRASH_KERNEL = "/boot/kernel"
CAPTURE_IMAGE = "/boot/capture.cpio.gz"
KEXEC_HOTPLUG = "/lib/kexec_hotplug.so"


def image(kernel: str) -> Path:
    """The initramfs of `kernel`, up to date."""
    files = _common_files(kernel)
    for option, module in INJECTORS.items():
        if is_module(option, kernel):
            files[f"/lib/modules/{Path(module).name}"] = paths.built(kernel, module)
    files[CRASH_KERNEL] = paths.kernel_image(kernel)
    files[CAPTURE_IMAGE] = small_image(kernel)
    kexec = tool("kexec", kernel)
    files["/bin/kexec"] = kexec
    files |= libraries(kexec) if is_native(kernel) else foreign_libraries(kexec, kernel)
    files[KEXEC_HOTPLUG] = _compiled("kexec_hotplug", kernel, "-shared", "-fPIC")
    return archive(kernel, kernel, files)


def small_image(kernel: str) -> Path:
    """Without what a crash dump takes."""
    return archive(kernel, f"{kernel}-capture", _common_files(kernel))


def _common_files(kernel: str) -> dict[str, Path]:
    """Enough to run the agent, and all that the capture kernel needs."""
    return {
        "/init": paths.ROOT / "guest/init",
        "/agent": paths.ROOT / "guest/agent",
        "/bin/busybox": tool("busybox", kernel),
        **{f"/bin/{name}": _compiled(name, kernel) for name in PROGRAMS},
        **({VIRTIO_MEM: paths.built(kernel, "drivers/virtio/virtio_mem.ko")} if driver_is_module(kernel) else {}),
    }


def driver_is_module(kernel: str) -> bool:
    """Whether virtio-mem's driver has to be loaded. Where it is built in, it has no parameters that a guest can set."""
    return is_module("CONFIG_VIRTIO_MEM", kernel)


def is_module(option: str, kernel: str) -> bool:
    return f"{option}=m\n" in paths.built(kernel, ".config").read_text(encoding="utf-8")


def is_native(kernel: str) -> bool:
    """Whether its guests run this machine's programs."""
    return flavour(kernel).architecture == HOST


def tool(name: str, kernel: str) -> Path:
    """A program for guests of `kernel`."""
    places = ["usr/sbin", "usr/bin", "sbin", "bin"]
    root = Path("/") if is_native(kernel) else paths.programs(kernel)
    found = shutil.which(name, path=":".join(str(root / place) for place in places))
    if found is None:
        what = "`make setup`" if is_native(kernel) else f"`tools/programs {kernel}`"
        raise Failure(f"{name} is not in {root}. Run {what}.")
    return Path(found)


def _compiled(name: str, kernel: str, *linked: str) -> Path:
    """A program of guest/, statically linked if not said otherwise, compiled again when its source changes."""
    into = IMAGES / flavour(kernel).architecture
    source, program = paths.ROOT / f"guest/{name}.c", into / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into) as scratch:
            compiled = Path(scratch, name)
            command = [f"{architecture(kernel).cross}gcc", *(linked or ["-static"]), "-O2", "-Wall", "-Werror"]
            command += ["-o", str(compiled), str(source)]
            subprocess.run(command, check=True)
            compiled.replace(program)
    return program


def libraries(program: Path, lister: Sequence[str] = ("ldd",)) -> dict[str, Path]:
    """What the dynamic linker loads for `program`, itself included."""
    listed = subprocess.run([*lister, program], check=True, capture_output=True, text=True).stdout
    return {path: Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}


def foreign_libraries(program: Path, kernel: str) -> dict[str, Path]:
    """The same of a program that cannot run here, from where it has been unpacked."""
    root = paths.programs(kernel)
    places = {path.name: path for directory in ("lib", "usr/lib") for path in (root / directory).rglob("*.so*")}
    found: dict[str, Path] = {}
    names, interpreter = needed(program)
    found[interpreter] = places[Path(interpreter).name]
    while names:
        name = names.pop()
        if f"/lib/{name}" not in found:
            found[f"/lib/{name}"] = places[name]
            names += needed(places[name])[0]
    return found


def archive(kernel: str, name: str, files: dict[str, Path], packed: bool = True) -> Path:
    image, inputs = IMAGES / f"{name}.cpio{'.gz' if packed else ''}", IMAGES / f"{name}.inputs"
    spec = _spec(files)
    if image.exists() and inputs.exists() and inputs.read_text() == spec:
        return image
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=IMAGES) as scratch:
        listed, written = Path(scratch, "list"), Path(scratch, "written")
        listed.write_text(spec)
        generator = paths.built(kernel, "usr/gen_init_cpio")
        # A fixed time makes the same inputs give the same bytes.
        cpio = subprocess.run([generator, "-t", "0", listed], check=True, capture_output=True).stdout
        written.write_bytes(gzip.compress(cpio, compresslevel=6, mtime=0) if packed else cpio)
        inputs.unlink(missing_ok=True)
        written.replace(image)
        listed.replace(inputs)
    return image


def _spec(files: dict[str, Path]) -> str:
    """gen_init_cpio's list; a comment before each file changes when the file does."""
    directories = {str(parent) for name in files for parent in Path(name).parents} - {"/"}
    lines = [f"dir {directory} 0755 0 0" for directory in sorted(directories)]
    for name, source in files.items():
        found = os.stat(source)
        lines.append(f"# {found.st_size} bytes, changed {found.st_mtime_ns}")
        lines.append(f"file {name} {source.resolve()} 0755 0 0")
    return "\n".join(lines) + "\n"
