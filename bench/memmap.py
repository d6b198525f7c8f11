"""What a guest pays of the memory it booted with for what it is given: the memory map, mostly."""

from dataclasses import asdict
from typing import Any

from vmtest import growth, paths
from vmtest.errors import Failure

SIZES = ["1G", "16G", "64G", "256G"]
# The base needs 4 GiB for the memory map of 256 GiB; both kernels get the same.
MEMORY = "6G"

Measured = dict[str, dict[str, float]]  # kernel -> size -> KiB for each GiB


def measure() -> tuple[Measured, dict[str, Any]]:
    """The figures, and all that was seen."""
    print(f"A guest with {MEMORY} is given {SIZES[-1]}, in steps:", flush=True)
    guests = {kernel: growth.grow(kernel, MEMORY, SIZES) for kernel in paths.KERNELS}
    for guest in guests.values():
        if len(guest.steps) < len(SIZES) or not guest.end.endswith(", as before"):
            raise Failure(f"{guest.kernel}: {guest.end}")
    per_gib = {
        kernel: {step.size: round(step.per_gib(), 1) for step in guest.steps}
        for kernel, guest in guests.items()
    }
    return per_gib, {kernel: asdict(guest) for kernel, guest in guests.items()}


def table(measured: Measured) -> str:
    lines = ["| KiB of boot memory for each GiB, at | " + " | ".join(SIZES) + " |"]
    lines.append("|---" * (1 + len(SIZES)) + "|")
    for kernel, sizes in measured.items():
        lines.append(f"| {kernel} | " + " | ".join(f"{sizes[size]:.0f}" for size in SIZES) + " |")
    return "\n".join(lines)
