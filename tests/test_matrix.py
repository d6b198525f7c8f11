# SPDX-License-Identifier: GPL-2.0
"""README's table of what was run where."""

from vmtest.matrix import table, verdicts

LOG = """\
[gw1] [ 24%] FAILED scenarios/test_xen_pvh.py::test_it_grows[patched]
[gw1] [ 24%] PASSED scenarios/test_xen_pvh.py::test_it_grows[patched]
[gw0] [ 43%] PASSED scenarios/test_owners.py::test_devices[base-a b]
[gw0] [ 44%] FAILED scenarios/test_owners.py::test_devices[patched-a b]
scenarios/test_kmem.py::test_it[both] PASSED  [ 50%]
FAILED scenarios/test_owners.py::test_devices[patched-a b]
scenarios/test_grown.py::test_it[debug] PASSED  [ 50%]
"""


def test_the_last_verdict_counts() -> None:
    lines = table(verdicts(LOG)).splitlines()
    assert "| x86_64 | Xen 4.17, PVH dom0 | balloon | not run | 1 of 1 | not run |" in lines
    assert "| x86_64 | QEMU | virtio-mem | 1 of 1 | 0 of 1 | 1 of 1 |" in lines
    assert "| x86_64 | QEMU | dax/kmem | not run | 1 of 1 | not run |" in lines


def test_what_was_not_run_again_stays() -> None:
    before = "| x86_64 | QEMU | virtio-mem | 2 of 3 | 4 of 5 | 6 of 7 |\n"
    lines = table(verdicts("scenarios/test_grown.py::test_it[debug] PASSED  [ 50%]\n"), before).splitlines()
    assert "| x86_64 | QEMU | virtio-mem | 2 of 3 | 4 of 5 | 1 of 1 |" in lines
