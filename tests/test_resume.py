# SPDX-License-Identifier: GPL-2.0
"""make test-all goes on where it stopped."""

import subprocess

import pytest

from vmtest.paths import ROOT

TESTS = """
import pytest
def test_passes(): pass
@pytest.mark.xdist_group("some")
@pytest.mark.parametrize("what", ["a@b"])
def test_passes_in_a_group(what): pass
def test_fails(): assert False
def test_is_skipped(): pytest.skip()
@pytest.fixture
def bad():
    yield
    assert False
def test_fails_when_it_is_over(bad): pass
"""
WORKERS = ("-n", "2", "--dist", "loadgroup")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("ACCEL", raising=False)
    monkeypatch.setenv("BUILD", str(pytester.path / "build"))
    subprocess.run(["git", "init", "-q"], cwd=pytester.path, check=True)
    (pytester.path / ".gitignore").write_text("*\n!*.py\n")
    pytester.makepyfile(TESTS)
    return pytester


def run(project: pytest.Pytester, *workers: str) -> pytest.RunResult:
    return project.runpytest_subprocess("-p", "vmtest.resume", "-p", "no:cacheprovider", *workers)


@pytest.mark.parametrize("workers", [(), WORKERS])
def test_what_passed_is_not_run_again(project: pytest.Pytester, workers: tuple[str, ...]) -> None:
    run(project, *workers).assert_outcomes(passed=3, failed=1, skipped=1, errors=1)
    again = run(project, *workers)
    again.assert_outcomes(passed=1, failed=1, skipped=1, errors=1)
    again.stdout.fnmatch_lines(["passed before on the same, and not run again: 2 tests*"])


def test_after_a_change_all_run_again(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    run(project).assert_outcomes(passed=3, failed=1, skipped=1, errors=1)
    project.makepyfile(changed="")
    run(project).assert_outcomes(passed=3, failed=1, skipped=1, errors=1)
    monkeypatch.setenv("ACCEL", "tcg")
    run(project).assert_outcomes(passed=3, failed=1, skipped=1, errors=1)


def test_new_results_are_no_change(project: pytest.Pytester) -> None:
    run(project).assert_outcomes(passed=3, failed=1, skipped=1, errors=1)
    (project.mkdir("results") / "bench.py").write_text("")
    run(project).assert_outcomes(passed=1, failed=1, skipped=1, errors=1)


def test_new_documents_are_no_change_for_scenarios(project: pytest.Pytester) -> None:
    (project.path / ".gitignore").write_text("*\n!*.py\n!docs/\n!scenarios/\n")
    (project.mkdir("scenarios") / "test_it.py").write_text("def test_it_too(): pass\n")
    run(project).assert_outcomes(passed=4, failed=1, skipped=1, errors=1)
    (project.mkdir("docs") / "some.py").write_text("")
    run(project).assert_outcomes(passed=3, failed=1, skipped=1, errors=1)
