# SPDX-License-Identifier: GPL-2.0
"""Only a suite that ran whole and passed counts as passed."""

import pytest

import recorded
from vmtest import kunit

KTAP = recorded.text("resource.ktap")


def test_all_passed() -> None:
    assert kunit.parse(KTAP, "base").passed


@pytest.mark.parametrize(
    "ktap",
    [
        "",
        KTAP.replace("ok 2", "not ok 2"),
        KTAP.replace("ok 2 resource_test_intersection", "ok 2 resource_test_intersection # SKIP"),
        KTAP[: KTAP.index("    ok 3")],
        KTAP[: KTAP.index("ok 1 resource\n")],
    ],
    ids=["nothing", "failed", "skipped", "a case is missing", "broken off"],
)
def test_anything_less_is_a_failure(ktap: str) -> None:
    assert ktap != KTAP
    assert not kunit.parse(ktap, "base").passed
