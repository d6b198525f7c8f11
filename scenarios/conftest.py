"""Every scenario runs on the base and on the patched kernel, and says what the base does.

    @pytest.mark.base("same")                    the base passes the same assertions
    @pytest.mark.base(fails="text")              on the base an assertion fails, with that text
    @pytest.mark.base(..., complains="pattern")  and a line like that has to come on its console
    @pytest.mark.base("compared")                the scenario runs once, boots both and compares

A base that stops failing, or fails in another way, fails the scenario.
"""

import contextlib
import re
from typing import Any, Iterator, Protocol, Sequence

import pytest

from vmtest.paths import DEBUG, KERNELS, LARGE
from vmtest.qemu import Machine
from vmtest.vm import VM


class Boot(Protocol):
    """Boots a guest that lives as long as the test."""

    def __call__(self, vmem: Sequence[str] = (), **more: Any) -> VM:
        """Takes what a Machine is made of; `kernel` where the scenario compares."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kernel", choices=[*KERNELS, DEBUG, LARGE], help="on this kernel only")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "base(same | fails=text): what the unpatched kernel does")
    config.addinivalue_line("markers", "complains(pattern): a console line that has to come")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("base")
    stated = mark and (mark.args, [name for name in mark.kwargs if name != "complains"])
    if stated not in [(("same",), []), (("compared",), []), ((), ["fails"])]:
        name = metafunc.function.__name__
        pytest.fail(f"{name}: @pytest.mark.base has to say what the base does")
    only = metafunc.config.getoption("--kernel")
    if stated == (("compared",), []):
        metafunc.parametrize("kernel", [] if only else ["both"])
    else:
        metafunc.parametrize("kernel", [only] if only else KERNELS)


@pytest.hookimpl(hookwrapper=True)  # type: ignore[misc]
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Turns the failure that a scenario states for the base into its success."""
    outcome: Any = yield
    mark = pyfuncitem.get_closest_marker("base")
    assert mark is not None
    if "fails" not in mark.kwargs or pyfuncitem.callspec.params["kernel"] != "base":
        return
    failure = outcome.excinfo and outcome.excinfo[1]
    if failure is None:
        pytest.fail(f"the base was to fail here with {mark.kwargs['fails']!r}, and passes")
    if isinstance(failure, AssertionError) and mark.kwargs["fails"] in str(failure):
        outcome.force_result(True)


@pytest.fixture
def boot(kernel: str, request: pytest.FixtureRequest) -> Iterator[Boot]:
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    expected = [mark.args[0] for mark in request.node.iter_markers("complains")]
    base = request.node.get_closest_marker("base")
    if kernel == "base" and "complains" in base.kwargs:
        expected.append(base.kwargs["complains"])
    with contextlib.ExitStack() as guests:
        booted: list[VM] = []

        def boot_one(vmem: Sequence[str] = (), **more: Any) -> VM:
            machine = Machine(more.pop("kernel", kernel), vmem, **more)
            booted.append(guests.enter_context(VM(f"{name}-{len(booted)}", machine)))
            return booted[-1]

        yield boot_one
        for vm in booted:
            complaints = vm.complaints(expected)
            assert not complaints, f"{vm.name}: the kernel complains:\n" + "\n".join(complaints)
