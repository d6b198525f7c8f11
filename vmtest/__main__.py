"""python3 -m vmtest demo | kunit | shell | resize | initramfs"""

import argparse
import sys

from vmtest import demo, initramfs, kunit, shell
from vmtest.errors import Failure
from vmtest.paths import KERNELS


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
        command.add_argument("kernel", nargs="?", choices=KERNELS, default="patched")
    resize = commands.add_parser("resize", help="resize the memory of the guest of `shell`")
    resize.add_argument("size", help="such as 512M or 2G")
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
    else:
        print(initramfs.image(asked.kernel))
    return 0


try:
    sys.exit(main())
except (Failure, ValueError) as error:
    sys.exit(f"error: {error}")
except KeyboardInterrupt:
    sys.exit(130)
