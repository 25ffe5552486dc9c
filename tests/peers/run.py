#!/usr/bin/env python3
"""Tests the gateway against clients, servers and load tools that other people wrote.

    python3 tests/peers/run.py --binary target/release/sluicegate [--only NAME] [--list]

The first run makes a Python environment in `target/peers/venv`. What the programs of a failed test said is kept in
`target/peers/runs/NAME/`. The exit status is 0 only if all tests pass.
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

PEERS = Path(__file__).resolve().parent
TARGET = PEERS.parents[1] / "target" / "peers"
VENV = TARGET / "venv"
PACKAGES = ["fastapi", "uvicorn", "openai", "httpx"]
MODULES = ["asgi", "openai", "node", "curl", "nginx", "load", "nghttp", "upload", "shutdown"]
LIMIT = 40
"""Seconds that one test may take."""
LIMIT_OF_ALL = 170
"""Seconds that all tests together may take."""

Test = Callable[..., None]


def main() -> int:
    """Runs the tests that were asked for."""
    asked = arguments()
    require_tools()
    enter_environment()
    leave_settings_behind()
    tests = [test for test in all_tests() if asked.only in name_of(test)]
    if not tests:
        sys.exit(f"no test has `{asked.only}` in its name; --list shows them all")
    if asked.list:
        for test in tests:
            print(f"{name_of(test)}\n    {first_line(test)}")
        return 0
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    signal.signal(signal.SIGALRM, expire)
    began = time.monotonic()
    failed = [name_of(test) for test in tests if not passes(test, asked.binary.resolve(), began + LIMIT_OF_ALL)]
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
    """A missing tool is a failure, never a reason to skip."""
    os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where nginx is, and not on everybody's PATH
    lines = [line.split() for line in (PEERS / "debian.txt").read_text().splitlines() if not line.startswith("#")]
    missing = {tool: package for tool, package in lines if shutil.which(tool) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        sys.exit(f"missing: {', '.join(missing)} (Debian: apt-get install {packages})")


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


def leave_settings_behind() -> None:
    """Nothing that the user has set for himself changes the gateway, or puts a proxy before it."""
    for name in [name for name in os.environ if name.startswith("SLUICEGATE_") or name == "RUST_LOG"]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"


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
    """The test's name, such as `asgi.chunks_are_not_held_back`."""
    return f"{test.__module__}.{test.__name__}".replace("test_", "")


def first_line(test: Test) -> str:
    """What the test proves."""
    return (test.__doc__ or "").strip().partition("\n")[0]


def passes(test: Test, binary: Path, until: float) -> bool:
    """Runs one test and says how it went."""
    from harness import Scene

    name, began = name_of(test), time.monotonic()
    directory = TARGET / "runs" / name
    try:
        with Scene(binary, directory) as scene:
            limited(test, scene, until)
    except Exception as error:
        print(f"FAIL {time.monotonic() - began:5.1f} s  {name}: {first_line(test)}")
        (directory / "traceback.txt").write_text(traceback.format_exc())
        print("    " + story_of(error).replace("\n", "\n    "))
        print(f"    more in {directory}", flush=True)
        return False
    shutil.rmtree(directory)
    print(f"pass {time.monotonic() - began:5.1f} s  {name}: {first_line(test)}", flush=True)
    return True


def story_of(error: Exception) -> str:
    """What went wrong, and on which lines of the tests."""
    from harness import Failed

    kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == PEERS]
    places = [
        f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}" for frame in frames if "test_" in frame.filename
    ]
    return "\n".join([f"{kind}{error}".strip(), *places])


def limited(test: Test, scene: object, until: float) -> None:
    """Runs the test for as long as one may take, and no longer than there is time for all."""
    signal.alarm(max(1, min(LIMIT, round(until - time.monotonic()))))
    try:
        test(scene)
    finally:
        signal.alarm(0)


def stop(number: int, _frame: FrameType | None) -> None:
    """Ends the run, and with it all that it started."""
    sys.exit(128 + number)


def expire(_number: int, _frame: FrameType | None) -> None:
    """Ends a test that takes too long."""
    raise TimeoutError(f"took too long: one test may take {LIMIT} s, and all together {LIMIT_OF_ALL} s")


if __name__ == "__main__":
    sys.exit(main())
