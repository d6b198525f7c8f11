"""Somebody reads /proc/iomem while memory goes: kexec-tools lists from there what to dump."""

import pytest

from conftest import Boot
from vmtest.wait import wait_until

# Reads line by line, and waits behind the memory of virtio-mem until it is told to go on.
READER = """
mkfifo go
{
    while read -r line; do
        echo "$line" >>seen
        case $line in *virtio_mem*) read -r _ <go ;; esac
    done </proc/iomem
    touch finished
} >/dev/null 2>&1 &
"""


@pytest.mark.base(fails="passed over")
def test_what_follows_is_not_passed_over(boot: Boot) -> None:
    vm = boot(vmem=["1G"], cmdline="memhp_default_state=online_movable")
    vm.resize("512M")
    whole = [line.strip() for line in vm.sh("cat /proc/iomem").splitlines()]

    vm.sh(READER)
    wait_until(lambda: "virtio_mem" in vm.sh("cat seen"), 30, lambda: "the reader does not start")
    vm.resize("0")
    vm.sh("echo >go")
    wait_until(lambda: vm.run("[ -e finished ]").status == 0, 30, lambda: "the reader hangs")

    seen = [line.strip() for line in vm.sh("cat seen").splitlines()]
    assert seen == whole, "entries were passed over"
