# SPDX-License-Identifier: GPL-2.0
"""Every scenario runs on the base and on the patched kernel, and says what the base does.

    @pytest.mark.base("same")                    the base passes the same assertions (asked by make test-all)
    @pytest.mark.base(fails="text")              on the base an assertion fails, or a guest, with that text
    @pytest.mark.base(..., complains=Complaint)  and a line like that has to come on its console
    @pytest.mark.base("compared")                the scenario runs once, boots both and compares
    @pytest.mark.base("absent")                  it runs once: it is about what only the series has

A base that stops failing, or fails in another way, fails the scenario. One that dies of a fault that
comes by luck, and is not what the scenario is about, is tried again (pytest.ini says how often).

    @pytest.mark.architectures("x86_64")         it is for these only; if not said, for all that --arch takes
"""

import contextlib
import functools
import os
import re
from typing import Any, Iterator, Protocol, Sequence

import pytest

from vmtest.console import Complaint
from vmtest.debian import Computer, Debian
from vmtest.environments import DEBIAN, HYPERV, LIBVIRT, MAKEDUMPFILE, PAGES_64K, PLAIN, XEN, Environment, prepare
from vmtest.errors import Failure
from vmtest.flavours import ARCHITECTURES, FLAVOURS, HOST, Flavour, both, compared, flavour, is_base
from vmtest.guest import HANGS, Guest
from vmtest.hyperv import HyperV
from vmtest.libvirt import UnderLibvirt
from vmtest.moved import Moved
from vmtest.paths import KERNELS, LARGE_PAGES
from vmtest.qemu import Machine
from vmtest.vm import VM
from vmtest.xen import Dom0, Host

pytest.register_assert_rewrite("dom0")

# Faults of the base that come by luck, wherever memory goes: what is on the console then, and what mends it.
BY_LUCK = {
    r"kernel NULL pointer dereference(.|\n)*(RIP: \S+|pc : )get_page_from_freelist": "05-lookers/0001",
}

# What has to be there for a scenario, by the fixture that its guests boot with.
ENVIRONMENTS = {
    "boot": PLAIN,
    "boot_large_pages": PAGES_64K,
    "plain": PLAIN,
    "makedumpfile": MAKEDUMPFILE,
    "boot_dom0": XEN,
    "boot_hyperv": HYPERV,
    "boot_debian": DEBIAN,
    "boot_libvirt": LIBVIRT,
}
SESSION = pytest.StashKey[pytest.Session]()
LACKING = pytest.StashKey[dict[str, str]]()  # environments that this machine lacks, or that were left out, and why


class Boot(Protocol):
    """Boots a guest that lives as long as the test."""

    def __call__(self, vmem: Sequence[str] = (), **more: Any) -> VM:
        """Takes what a Machine is made of; `kernel` where the scenario compares."""


class Move(Protocol):
    """Moves a guest to another QEMU, in which it lives as long as the test."""

    def __call__(self, source: VM, saved: bool = False) -> Moved:
        """`saved` to a file and restored, else live."""


class BootHyperV(Protocol):
    """Boots a guest under Hyper-V's protocol that lives as long as the test."""

    def __call__(self, most: str = "2G", **more: Any) -> HyperV:
        """Takes what can be added, and what a Machine is made of; `kernel` where the scenario
        compares, and `doomed` if it is asked for what kernels may complain about."""


class BootDebian(Protocol):
    """Boots a Debian guest, with the kernel package installed, that lives as long as the test."""

    def __call__(self, vmem: Sequence[str] = (), **more: Any) -> Debian:
        """Takes what a Computer is made of."""


class BootLibvirt(Protocol):
    """The same, with libvirt to run it."""

    def __call__(self, vmem: Sequence[str] = (), **more: Any) -> UnderLibvirt:
        """Takes what a Computer is made of, one virtio-mem device among it."""


class BootDom0(Protocol):
    """Boots a dom0 under Xen that lives as long as the test."""

    def __call__(self, dom0: str = ..., **more: Any) -> Dom0:
        """Takes what a Host is made of; `kernel` for one that is built differently."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kernel", choices=FLAVOURS, help="on this kernel only")
    parser.addoption("--arch", choices=ARCHITECTURES, default=HOST, help="on the kernels of this architecture")
    parser.addoption("--build", action="store_true", help="bring up to date what is needed, missing or not")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "base(same | fails=text): what the unpatched kernel does")
    config.addinivalue_line("markers", "architectures(name, ...): it is for these only")
    config.addinivalue_line("markers", "complains(Complaint): a console line that has to come")
    config.addinivalue_line("markers", "may_complain(Complaint): one that comes by chance, on the base too")


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[SESSION] = session
    if hasattr(session.config, "workerinput"):
        session.config.stash[LACKING] = session.config.workerinput["lacking"]
    else:
        HANGS.unlink(missing_ok=True)


def asked_architecture(config: pytest.Config) -> str:
    only = config.getoption("--kernel")
    return flavour(only).architecture if only else str(config.getoption("--arch"))


def is_for(item: pytest.Item, architecture: str) -> bool:
    said = [mark.args for mark in item.iter_markers("architectures")]
    if isinstance(item, pytest.Function):
        said += [environment.architectures for environment in environments(item)]
    return all(architecture in names for names in said)


def can_run(item: pytest.Item, kernel: Flavour) -> bool:
    needed = environments(item) if isinstance(item, pytest.Function) else []
    if any(environment.name in kernel.without for environment in needed):
        return False
    return not any(word in item.nodeid for word in kernel.cannot)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is for other architectures, and what the kernel that was asked for cannot run. KUnit first."""
    asked, only = asked_architecture(config), config.getoption("--kernel")
    wanted = [item for item in items if is_for(item, asked) and (not only or can_run(item, flavour(only)))]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = sorted(wanted, key=lambda item: "test_kunit" not in item.nodeid)


@pytest.hookimpl(optionalhook=True)  # type: ignore[misc]
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Before there are workers: else nobody knows what is selected until they run it."""
    config.stash[SESSION].perform_collect()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Before the first test, and once for all workers: what the selected scenarios need is there, or is lacking."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    wanted = [
        (environment, str(item.callspec.params["kernel"]))
        for item in session.items if isinstance(item, pytest.Function)
        for environment in environments(item) if environment.name not in left_out()
    ]
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        try:
            lacking = prepare(dict.fromkeys(wanted), config.getoption("--build"))
        except Failure as failure:
            pytest.exit(f"error: {failure}", returncode=1)
    config.stash[LACKING] = lacking | dict.fromkeys(left_out(), "left out, as WITHOUT= says")


@pytest.hookimpl(optionalhook=True)  # type: ignore[misc]
def pytest_configure_node(node: Any) -> None:
    node.workerinput["lacking"] = node.config.stash[LACKING]


def left_out() -> list[str]:
    names = os.environ.get("WITHOUT", "").split()
    known = {environment.name for environment in ENVIRONMENTS.values()}
    if not known.issuperset(names):
        raise pytest.UsageError(f"WITHOUT={' '.join(names)}: the environments are {', '.join(sorted(known))}")
    return names


def environments(item: pytest.Function) -> list[Environment]:
    return [ENVIRONMENTS[name] for name in item.fixturenames if name in ENVIRONMENTS]


@pytest.hookimpl(tryfirst=True)  # type: ignore[misc]
def pytest_runtest_setup(item: pytest.Function) -> None:
    for environment in environments(item):
        why = item.config.stash[LACKING].get(environment.name)
        if why and os.environ.get("CI") and environment.name not in left_out():
            pytest.fail(f"{environment.name} is lacking here, and was not left out with WITHOUT=: {why}")
        elif why:
            pytest.skip(f"{environment.name}: {why}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says how many guests were booted once more, which is no failure, but not to be hidden."""
    if HANGS.exists():
        hung = HANGS.read_text(encoding="utf-8").count("hangs while it boots")
        terminalreporter.write_line(f"{hung} guests hung before their first process and were booted again: {HANGS}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("base")
    stated = mark and (mark.args, [name for name in mark.kwargs if name not in ("complains", "may_complain")])
    name = asked_architecture(metafunc.config)
    base, patched = ARCHITECTURES[name].kernels
    only = metafunc.config.getoption("--kernel")
    once = {"compared": both(name), "absent": patched}
    if stated not in [*(((word,), []) for word in ["same", *once]), ((), ["fails"])]:
        pytest.fail(f"{metafunc.function.__name__}: @pytest.mark.base has to say what the base does")
    word = mark.args[0] if mark and mark.args else ""
    if word in once and not only:
        metafunc.parametrize("kernel", [once[word]])
    elif word == "compared" or (word == "absent" and is_base(only)):
        metafunc.parametrize("kernel", [])
    elif only:
        metafunc.parametrize("kernel", [only])
    else:
        # That the base passes as well is good to know, and not what a change of the series can break.
        later = [pytest.mark.long] if word == "same" else []
        metafunc.parametrize("kernel", [pytest.param(base, marks=later), patched])


@pytest.hookimpl(hookwrapper=True)  # type: ignore[misc]
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Turns the failure that a scenario states for the base into its success."""
    outcome: Any = yield
    mark = pyfuncitem.get_closest_marker("base")
    assert mark is not None
    failure = outcome.excinfo and outcome.excinfo[1]
    guests = pyfuncitem.funcargs.get("guests")
    if isinstance(guests, Guests) and str(failure).startswith("Timeout"):
        pyfuncitem.add_report_section("call", "guests", guests.last_words())
    if not is_base(str(pyfuncitem.callspec.params["kernel"])):
        return
    stated = mark.kwargs.get("fails")
    if stated and isinstance(failure, (AssertionError, Failure)) and stated in str(failure):
        outcome.force_result(True)
    elif failure and isinstance(guests, Guests):
        guests.explain_by_luck(failure)
    elif stated:
        pytest.fail(f"the base was to fail here with {stated!r}, and passes")


def stated_complaints(request: pytest.FixtureRequest, kernel: str, mark: str) -> list[str]:
    """The patterns of those that a test marks, for all kernels or for the base."""
    stated = [marker.args[0] for marker in request.node.iter_markers(mark)]
    if is_base(kernel):
        stated += filter(None, [request.node.get_closest_marker("base").kwargs.get(mark)])
    for complaint in stated:
        assert isinstance(complaint, Complaint), f"{mark}: {complaint!r} is not a Complaint, with reason and end"
    return [complaint.pattern for complaint in stated]


class Guests:
    """The guests of a test, which end with it, and must not have complained."""

    def __init__(self, kernel: str, request: pytest.FixtureRequest) -> None:
        self.kernel = kernel
        # What a scenario that compares calls base and patched.
        self._called = dict(zip(KERNELS, compared(kernel))) if kernel not in FLAVOURS else {}
        self._name = re.sub(r"\W+", "-", f"{request.path.stem}-{request.node.name}").strip("-")
        self._expected = stated_complaints(request, kernel, "complains")
        self._tolerated = stated_complaints(request, kernel, "may_complain")
        self._stack = contextlib.ExitStack()
        self._booted: list[Guest] = []
        self._count = 0

    def name(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count - 1}"

    def kernel_called(self, name: str) -> str:
        return self._called.get(name, name)

    def add(self, vm: Guest, doomed: bool = False) -> None:
        """Boots it."""
        self._stack.enter_context(vm)
        if not doomed:
            self._booted.append(vm)

    def explain_by_luck(self, failure: BaseException) -> None:
        """Fails in another way if a guest of the base died of what can kill any of them."""
        for vm in self._booted:
            for pattern, patch in BY_LUCK.items():
                if re.search(pattern, vm.console()):
                    raise Failure(f"a fault of the base that comes by luck, which {patch} mends: {failure}")

    def last_words(self) -> str:
        return "\n".join(f"{vm.name}:\n{vm.last_words()}" for vm in self._booted)

    def end(self) -> None:
        with self._stack:
            for vm in self._booted:
                complaints = [
                    line for line in vm.complaints(self._expected)
                    if not any(re.search(pattern, line) for pattern in self._tolerated)
                ]
                assert not complaints, f"{vm.name}: the kernel complains:\n" + "\n".join(complaints)


@pytest.fixture
def guests(kernel: str, request: pytest.FixtureRequest) -> Iterator[Guests]:
    guests = Guests(kernel, request)
    yield guests
    guests.end()


@pytest.fixture
def plain() -> None:
    """For a scenario that boots its guests itself."""


@pytest.fixture
def makedumpfile() -> str:
    """One that knows the kernels of the guests."""
    return str(MAKEDUMPFILE.first[0].there)


@pytest.fixture
def boot(guests: Guests) -> Boot:
    def boot_one(vmem: Sequence[str] = (), **more: Any) -> VM:
        machine = Machine(guests.kernel_called(more.pop("kernel", guests.kernel)), vmem, **more)
        vm = VM(guests.name(), machine)
        guests.add(vm)
        return vm

    return boot_one


@pytest.fixture
def boot_large_pages(boot: Boot, kernel: str) -> Boot:
    return functools.partial(boot, kernel=kernel + LARGE_PAGES)


@pytest.fixture
def move(guests: Guests) -> Move:
    def move_one(source: VM, saved: bool = False) -> Moved:
        vm = Moved(guests.name(), source, saved)
        guests.add(vm)
        return vm

    return move_one


@pytest.fixture
def boot_hyperv(guests: Guests) -> BootHyperV:
    def boot_one(most: str = "2G", **more: Any) -> HyperV:
        doomed = more.pop("doomed", False)
        machine = Machine(more.pop("kernel", guests.kernel), **more)
        vm = HyperV(guests.name(), machine, most)
        guests.add(vm, doomed)
        return vm

    return boot_one


@pytest.fixture
def boot_debian(guests: Guests) -> BootDebian:
    def boot_one(vmem: Sequence[str] = (), **more: Any) -> Debian:
        vm = Debian(guests.name(), Computer(vmem=vmem, **more))
        guests.add(vm)
        return vm

    return boot_one


@pytest.fixture
def boot_libvirt(guests: Guests) -> BootLibvirt:
    def boot_one(vmem: Sequence[str] = (), **more: Any) -> UnderLibvirt:
        vm = UnderLibvirt(guests.name(), Computer(vmem=vmem, **more))
        guests.add(vm)
        return vm

    return boot_one


@pytest.fixture
def boot_dom0(guests: Guests) -> BootDom0:
    def boot_one(dom0: str = Host.dom0, **more: Any) -> Dom0:
        vm = Dom0(guests.name(), Host(more.pop("kernel", guests.kernel), dom0=dom0, **more))
        guests.add(vm)
        return vm

    return boot_one
