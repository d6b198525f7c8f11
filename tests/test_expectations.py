# SPDX-License-Identifier: GPL-2.0
"""What scenarios/conftest.py makes of `@pytest.mark.base`."""

import pytest

from vmtest.paths import ROOT

SCENARIO = """
import pytest
from vmtest.errors import Failure
def fail(text):
    raise Failure(text)
{mark}
def test_story(kernel):
    assert {condition}, "the dump is wrong"
"""


@pytest.mark.parametrize(
    "mark, condition, outcome",
    [
        ('@pytest.mark.base("same")', "True", {"passed": 2}),
        ('@pytest.mark.base("same")', "kernel == 'patched'", {"passed": 1, "failed": 1}),
        ('@pytest.mark.base(fails="dump is wrong")', "kernel == 'patched'", {"passed": 2}),
        ('@pytest.mark.base(fails="dump is wrong")', "True", {"passed": 1, "failed": 1}),
        ('@pytest.mark.base(fails="dump is wrong")', "False", {"passed": 1, "failed": 1}),
        ('@pytest.mark.base(fails="other")', "kernel == 'patched'", {"passed": 1, "failed": 1}),
        ('@pytest.mark.base(fails="is stuck")', "kernel == 'patched' or fail('the guest is stuck')", {"passed": 2}),
        ('@pytest.mark.base(fails="divi")', "1 / 0", {"failed": 2}),
        ('@pytest.mark.base("compared")', "kernel == 'both'", {"passed": 1}),
        ('@pytest.mark.base("absent")', "kernel == 'patched'", {"passed": 1}),
    ],
)
def test_base_does_what_it_is_said_to_do(
    pytester: pytest.Pytester, mark: str, condition: str, outcome: dict[str, int]
) -> None:
    pytester.makeconftest((ROOT / "scenarios/conftest.py").read_text())
    pytester.makepyfile(SCENARIO.format(mark=mark, condition=condition))
    pytester.runpytest().assert_outcomes(**outcome)


@pytest.mark.parametrize("mark", ["", "@pytest.mark.base", '@pytest.mark.base("maybe")'])
def test_a_scenario_has_to_say_what_the_base_does(pytester: pytest.Pytester, mark: str) -> None:
    pytester.makeconftest((ROOT / "scenarios/conftest.py").read_text())
    pytester.makepyfile(SCENARIO.format(mark=mark, condition="True"))
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_story*@pytest.mark.base has to say what the base does"])


def test_a_complaint_is_tolerated_for_a_reason(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((ROOT / "scenarios/conftest.py").read_text())
    mark = '@pytest.mark.base("absent")\n@pytest.mark.complains("Oops")'
    pytester.makepyfile(SCENARIO.format(mark=mark, condition="True").replace("kernel)", "kernel, guests)"))
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*complains: 'Oops' is not a Complaint, with reason and end*"])


STUCK = """
import pytest, time
from vmtest.guest import Guest
class Silent(Guest):
    def start(self): pass
    def console(self): return "Booting the kernel."
@pytest.mark.base("absent")
@pytest.mark.timeout(0.5)
def test_story(kernel, guests):
    guests.add(Silent("silent", None))
    time.sleep(60)
"""


def test_a_test_that_takes_too_long_shows_its_guests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeconftest((ROOT / "scenarios/conftest.py").read_text())
    pytester.makepyfile(STUCK)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # A process of its own: where xdist did not get the main thread, a test that takes too long ends its process.
    result = pytester.runpytest_subprocess()
    result.stdout.fnmatch_lines(["*Captured guests call*", "silent:", "*| Booting the kernel."])
    result.assert_outcomes(failed=1)
