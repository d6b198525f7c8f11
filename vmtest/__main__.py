# SPDX-License-Identifier: GPL-2.0
"""python3 -m vmtest demo | kunit | shell | resize | initramfs | debian"""

import argparse
import sys
from pathlib import Path

from vmtest import debian, demo, initramfs, kunit, shell
from vmtest.errors import Failure
from vmtest.flavours import FLAVOURS


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vmtest", description="guests under QEMU")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="base and patched side by side")
    for name, text in [
        ("kunit", "run the KUnit suites in a guest"),
        ("shell", "an interactive guest on this terminal"),
        ("initramfs", "build a guest's initramfs and print where it is"),
    ]:
        command = commands.add_parser(name, help=text)
        command.add_argument("kernel", nargs="?", choices=FLAVOURS, metavar="kernel", default="patched")
    resize = commands.add_parser("resize", help="resize the memory of the guest of `shell`")
    resize.add_argument("size", help="such as 512M or 2G")
    install = commands.add_parser("debian", help="install a kernel package in the guest of tools/debian")
    install.add_argument("package", type=Path)
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    if asked.command == "demo":
        return demo.main()
    if asked.command == "kunit":
        return kunit.main(asked.kernel)
    if asked.command == "shell":
        shell.main(asked.kernel)
    elif asked.command == "resize":
        shell.resize(asked.size)
    elif asked.command == "debian":
        debian.install(asked.package)
    else:
        print(initramfs.image(asked.kernel))
    return 0


try:
    sys.exit(main())
except (Failure, ValueError) as error:
    sys.exit(f"error: {error}")
except KeyboardInterrupt:
    sys.exit(130)
