# SPDX-License-Identifier: GPL-2.0
"""What scenarios need is made once, before the first of them, or they do not run, and say why."""

from pathlib import Path

import pytest

from vmtest.environments import DEBIAN, HYPERV, LIBVIRT, PLAIN, XEN, Environment, Need, prepare
from vmtest.errors import Failure
from vmtest.paths import ROOT

TOOL = """#!/bin/bash
echo run >>{log}
{action}
"""
SCENARIOS = """
import pytest
@pytest.mark.base("absent")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_under_xen(boot_dom0, number):
    pass
@pytest.mark.base("absent")
def test_without(kernel):
    pass
@pytest.mark.base("absent")
def test_deselected(boot_debian):
    pass
"""


def tool(directory: Path, action: str) -> Need:
    path = directory / "tool"
    path.write_text(TOOL.format(log=directory / "log", action=action))
    path.chmod(0o755)
    return Need(directory / "made", (str(path),))


def runs(directory: Path) -> int:
    log = directory / "log"
    return log.read_text().count("run") if log.exists() else 0


def tools(environment: Environment, kernel: str) -> list[str]:
    return [" ".join(need.tool) for need in environment.needs(kernel)]


def test_just_what_is_needed() -> None:
    assert tools(PLAIN, "both") == ["tools/build base", "tools/build patched"]
    assert tools(PLAIN, "debug") == ["tools/build debug"]
    assert tools(XEN, "base") == ["tools/xen", "tools/build base", "tools/build base-ballooned"]
    assert tools(XEN, "debug") == ["tools/xen", "tools/build debug"]
    assert tools(HYPERV, "patched") == ["tools/hyperv", "tools/build patched"]
    assert tools(DEBIAN, "patched") == ["tools/debian"]
    assert tools(LIBVIRT, "patched") == ["tools/setup libvirt", "tools/debian"]


def test_made_if_missing_and_only_once(tmp_path: Path) -> None:
    environment = Environment("some", (tool(tmp_path, f"touch {tmp_path}/made"),), ())
    assert prepare([(environment, "base"), (environment, "patched")], build=False) == {}
    assert runs(tmp_path) == 1
    prepare([(environment, "base")], build=False)
    assert runs(tmp_path) == 1
    prepare([(environment, "base")], build=True)
    assert runs(tmp_path) == 2


def test_a_means_is_lacking(tmp_path: Path) -> None:
    action = f". {ROOT}/tools/lib.sh; lack 'no network' 'wait'"
    environment = Environment("some", (tool(tmp_path, action),), ())
    assert prepare([(environment, "base"), (environment, "patched")], build=False) == {"some": "no network"}
    assert runs(tmp_path) == 1


def test_a_tool_fails(tmp_path: Path) -> None:
    environment = Environment("some", (tool(tmp_path, "exit 1"),), ())
    with pytest.raises(Failure, match="tool failed"):
        prepare([(environment, "base")], build=False)


def xen_needs(pytester: pytest.Pytester, action: str) -> None:
    """Scenarios of which some need what a tool makes that does just that."""
    need = tool(pytester.path, action)
    environment = f"Environment('xen', (Need(Path({str(need.there)!r}), {need.tool!r}),), ())"
    pytester.makeconftest(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{(ROOT / 'scenarios/conftest.py').read_text()}\n"
        f"from pathlib import Path\nfrom vmtest.environments import Need\nENVIRONMENTS['boot_dom0'] = {environment}\n"
    )
    pytester.makefile(".ini", pytest=(ROOT / "pytest.ini").read_text())
    pytester.makepyfile(SCENARIOS)


def test_a_tool_that_fails_ends_the_run(pytester: pytest.Pytester) -> None:
    xen_needs(pytester, "exit 1")
    result = pytester.runpytest_subprocess("-k", "not deselected", "-n", "2")
    assert result.ret == 1
    assert "tool failed; see the lines above" in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
@pytest.mark.parametrize(
    "variables, outcome, ran",
    [
        ({}, {"passed": 1, "skipped": 3}, 1),
        ({"CI": "1"}, {"passed": 1, "errors": 3}, 1),
        ({"CI": "1", "WITHOUT": "xen"}, {"passed": 1, "skipped": 3}, 0),
    ],
)
def test_scenarios_without_a_means(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str], outcome: dict[str, int], ran: int, workers: list[str],
) -> None:
    xen_needs(pytester, f". {ROOT}/tools/lib.sh; lack 'no network' 'wait'")
    for name in ("CI", "WITHOUT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = pytester.runpytest_subprocess("-k", "not deselected", *workers)
    result.assert_outcomes(**outcome)
    assert result.ret == (1 if "errors" in outcome else 0)
    assert runs(pytester.path) == ran
    if "skipped" in outcome:
        why = "left out, as WITHOUT= says" if ran == 0 else "no network"
        result.stdout.fnmatch_lines([f"SKIPPED [[]3[]] *: xen: {why}"])
