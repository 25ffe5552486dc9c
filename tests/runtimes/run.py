#!/usr/bin/env python3
"""Tests the runtimes for local functions, Node's and Python's, against a Runtime API that the tests play.

    python3 tests/runtimes/run.py [--only NAME] [--list]

Needs Node and Python, and nothing built. What the runtimes of a failed test said is kept in
`target/runtimes/NAME/`. The exit status is 0 only if all tests pass.
"""

import argparse
import importlib
import inspect
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

from harness import RUNTIMES, TARGET, Failed, Scene

LANGUAGES = ["node", "python"]
MODULES = ["both", "node", "python", "examples"]
LIMIT = 40
"""Seconds that one test may take."""

Test = Callable[[Scene], None]


def main() -> int:
    """Runs the tests that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, help="not needed: the runtimes are tested as they stand in src")
    parser.add_argument("--only", default="", metavar="NAME", help="only tests with this in their name")
    parser.add_argument("--list", action="store_true", help="list the tests and what each proves")
    asked = parser.parse_args()
    if shutil.which("node") is None:
        sys.exit("missing: node (Debian: apt-get install nodejs)")
    tests = {name: test for name, test in all_tests().items() if asked.only in name}
    if not tests:
        sys.exit(f"no test has `{asked.only}` in its name; --list shows them all")
    if asked.list:
        for name, (_, about) in tests.items():
            print(f"{name}\n    {about}")
        return 0
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    signal.signal(signal.SIGALRM, expire)
    began = time.monotonic()
    failed = [name for name, (test, about) in tests.items() if not passes(name, about, test)]
    print(f"{len(tests) - len(failed)} of {len(tests)} passed in {time.monotonic() - began:.0f} s")
    if failed:
        print("failed: " + ", ".join(failed))
    return 1 if failed else 0


def all_tests() -> dict[str, tuple[Callable[[Path], None], str]]:
    """The functions named `test_...`, in the order in which they are written; those for both runtimes twice."""
    tests: dict[str, tuple[Callable[[Path], None], str]] = {}
    for module_name in MODULES:
        module = importlib.import_module(f"test_{module_name}")
        for name, test in vars(module).items():
            if not name.startswith("test_") or not inspect.isfunction(test):
                continue
            about = (test.__doc__ or "").strip().partition("\n")[0]
            for language in LANGUAGES if module_name == "both" else [getattr(module, "LANGUAGE", module_name)]:
                full = f"{module_name}.{name.removeprefix('test_')}"
                full = f"{full}.{language}" if module_name == "both" else full
                tests[full] = (partial(on_stage, language, test), about)
    return tests


def on_stage(language: str, test: Test, directory: Path) -> None:
    """Runs one test with everything it starts ending with it."""
    with Scene(language, directory) as scene:
        signal.alarm(LIMIT)
        try:
            test(scene)
        finally:
            signal.alarm(0)


def passes(name: str, about: str, test: Callable[[Path], None]) -> bool:
    """Runs one test and says how it went."""
    began, directory = time.monotonic(), TARGET / name
    try:
        test(directory)
    except Exception as error:
        print(f"FAIL {time.monotonic() - began:5.1f} s  {name}: {about}")
        (directory / "traceback.txt").write_text(traceback.format_exc())
        print("    " + story_of(error).replace("\n", "\n    "))
        print(f"    more in {directory}", flush=True)
        return False
    shutil.rmtree(directory)
    print(f"pass {time.monotonic() - began:5.1f} s  {name}: {about}", flush=True)
    return True


def story_of(error: Exception) -> str:
    """What went wrong, and on which lines of the tests."""
    kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == RUNTIMES]
    places = [f"{Path(each.filename).name}:{each.lineno}: {each.line}" for each in frames if "test_" in each.filename]
    return "\n".join([f"{kind}{error}".strip(), *places])


def stop(number: int, _frame: FrameType | None) -> None:
    """Ends the run, and with it all that it started."""
    sys.exit(128 + number)


def expire(_number: int, _frame: FrameType | None) -> None:
    """Ends a test that takes too long."""
    raise TimeoutError(f"took too long: one test may take {LIMIT} s")


if __name__ == "__main__":
    sys.path[0] = str(RUNTIMES)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    sys.exit(main())
