"""Checks of the environment that the host itself offers."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from qharness.records import CheckResult, DoctorCheck


def python() -> CheckResult:
    """Check the Python version."""
    ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    found = ".".join(str(part) for part in sys.version_info[:3])
    return CheckResult(ok, f"Python {found}", "use Python 3.11 or 3.12")


def packages() -> CheckResult:
    """Check that installed packages satisfy the requirements of the `qharness` distribution."""
    from packaging.requirements import Requirement

    wrong = []
    for text in requires("qharness") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found} is not {requirement.specifier}")
    detail = "; ".join(wrong) or f"torch {version('torch')}, transformers {version('transformers')}"
    return CheckResult(not wrong, detail, "pip install -U -c constraints.txt qharness")


def device() -> CheckResult:
    """Say what will compute."""
    import torch

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        return CheckResult(True, f"{card.name}, {card.total_memory / 2**30:.0f} GiB")
    return CheckResult(True, f"no GPU; {torch.get_num_threads()} CPU threads (float32 by default)")


def disk() -> CheckResult:
    """Check for 5 GiB of free disk in the working directory."""
    free = shutil.disk_usage(os.getcwd()).free / 2**30
    return CheckResult(free > 5, f"{free:.0f} GiB free here", "free some disk or pass `--runs` on another disk")


def checks() -> Iterator[DoctorCheck]:
    """Yield the host's own checks."""
    for check in (python, packages, device, disk):
        yield DoctorCheck(name=check.__name__, run=check)
