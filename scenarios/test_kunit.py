# SPDX-License-Identifier: GPL-2.0
"""The KUnit suites pass in a guest."""

import pytest

from vmtest import kunit


@pytest.mark.usefixtures("plain")
@pytest.mark.base("same")
def test_suites_pass(kernel: str) -> None:
    report = kunit.run(kernel)
    assert report.passed, report.text
