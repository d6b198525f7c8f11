# SPDX-License-Identifier: GPL-2.0
"""make test-all goes on where it stopped: what passed is kept in build/test-all by what it passed on, and not run again
there. A plugin of pytest, for `-p vmtest.resume`."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Generator

import pytest

from vmtest import paths

BEFORE = pytest.StashKey[frozenset[str]]()
NAME = pytest.StashKey[str]()
VARIABLES = ("BASE_SRC", "DEBIAN", "ACCEL")  # of make, which change what is tested


def git(command: str, root: Path, **variables: str) -> str:
    environment = os.environ | variables
    command = f"git {command}"
    return subprocess.run(
        command.split(), cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True, errors="replace"
    ).stdout


def tree(root: Path, *left_out: str) -> str:
    """The name git has for what is in the work tree, committed or not, without what it ignores and what is left out."""
    with tempfile.TemporaryDirectory() as scratch:
        index = f"{scratch}/index"
        git("add --all", root, GIT_INDEX_FILE=index)
        git(f"rm -r -q --cached --ignore-unmatch {' '.join(left_out)}", root, GIT_INDEX_FILE=index)
        return git("write-tree", root, GIT_INDEX_FILE=index).strip()


def key(root: Path, *left_out: str) -> str:
    """What is tested: the work tree, the kernel's as somebody changes it, and what make was told."""
    parts = [tree(root, "results", *left_out), *(os.environ.get(name, "") for name in VARIABLES)]
    kernel = paths.BUILD / "tree"
    if kernel.exists():
        parts += [git("rev-parse HEAD", kernel), git("diff HEAD", kernel)]
    return hashlib.sha1("\0".join(parts).encode()).hexdigest()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[BEFORE] = frozenset(config.workerinput["passed_before"])
        return
    kept = paths.BUILD / "test-all"
    kept.mkdir(parents=True, exist_ok=True)
    # Checks read documents, scenarios do not.
    code = key(config.rootpath, "README.md", "docs")
    passed = {"": kept / key(config.rootpath), "scenarios/": kept / f"scenarios-{code}"}
    before = "".join(file.read_text() for file in passed.values() if file.exists())
    config.stash[BEFORE] = frozenset(before.splitlines())
    config.pluginmanager.register(Keeper(passed))


@pytest.hookimpl(optionalhook=True)  # type: ignore[misc]
def pytest_configure_node(node: Any) -> None:
    node.workerinput["passed_before"] = sorted(node.config.stash[BEFORE])


def pytest_report_header(config: pytest.Config) -> str:
    return f"passed before on the same, and not run again: {len(config.stash[BEFORE])} tests"


@pytest.hookimpl(tryfirst=True)  # type: ignore[misc]
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    before = config.stash[BEFORE]
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in before])
    items[:] = [item for item in items if item.nodeid not in before]
    for item in items:
        item.stash[NAME] = item.nodeid  # a worker puts the group it runs in behind that, later


@pytest.hookimpl(hookwrapper=True)  # type: ignore[misc]
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    (yield).get_result().test = item.stash[NAME]


class Keeper:
    """Writes down each test that passed, when it is over: in each file for tests whose names begin like that."""

    def __init__(self, passed: dict[str, Path]):
        self._passed = passed
        self._called: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" and report.passed:
            self._called.add(report.test)
        elif report.when == "teardown" and report.passed and report.test in self._called:
            for beginning, file in self._passed.items():
                if report.test.startswith(beginning):
                    with open(file, "a", encoding="utf-8") as passed:
                        print(report.test, file=passed)
