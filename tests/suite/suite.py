"""What runs a suite: its command line, its Python environment, and each test on a stage of its own within its time."""

import argparse
import importlib
import inspect
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from claims import Failed

Stage = Callable[[Path, Path], AbstractContextManager[Any]]
"""Makes what a test is given, from the gateway's path and a directory for files. What the test starts ends with it."""


@dataclass
class Test:
    """A function that tests something, and the stage it does so on."""

    name: str
    """Such as `asgi.chunks_are_not_held_back`."""
    function: Callable[[Any], None]
    stage: Stage

    @property
    def about(self) -> str:
        """What it proves."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


@dataclass
class Suite:
    """The tests of one folder."""

    home: Path
    """The folder."""
    about: str
    """What the command line's help says."""
    modules: list[str]
    """Its modules, in the order in which they run, without `test_`."""
    stage: Stage
    """What the tests run on."""
    limit: int
    """Seconds that one test may take."""
    limit_of_all: float = math.inf
    """Seconds that all tests together may take."""
    other_stages: dict[str, dict[str, Stage]] = field(default_factory=dict)
    """For modules whose tests run on others: these, by what each adds to the names of the tests."""
    packages: list[str] = field(default_factory=list)
    """The Python packages of its environment. Without any it has none."""
    needs_gateway: bool = True
    """Whether it tests the gateway."""
    prepare: Callable[[], None] = lambda: None
    """Makes what the tests need beside tools and Python packages, or ends the run if that can't be had."""

    @property
    def target(self) -> Path:
        """What is made goes here."""
        return self.home.parents[1] / "target" / self.home.name

    def main(self) -> int:
        """Runs the tests that were asked for."""
        asked = self.arguments()
        self.require_tools()
        self.enter_environment()
        leave_settings_behind()
        tests = [test for test in self.all_tests() if asked.only in test.name]
        if not tests:
            sys.exit(f"no test has `{asked.only}` in its name; --list shows them all")
        if asked.list:
            for test in tests:
                print(f"{test.name}\n    {test.about}")
            return 0
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGHUP, stop)
        signal.signal(signal.SIGALRM, self.expire)
        self.prepare()
        began = time.monotonic()
        until = began + self.limit_of_all
        failed = [test.name for test in tests if not self.passes(test, asked.binary.resolve(), until)]
        print(f"{len(tests) - len(failed)} of {len(tests)} passed in {time.monotonic() - began:.0f} s")
        if failed:
            print("failed: " + ", ".join(failed))
        return 1 if failed else 0

    def arguments(self) -> argparse.Namespace:
        """The command line."""
        parser = argparse.ArgumentParser(description=self.about, formatter_class=argparse.RawDescriptionHelpFormatter)
        gateway = "the gateway to test" if self.needs_gateway else "not needed"
        parser.add_argument("--binary", type=Path, default=Path(), required=self.needs_gateway, help=gateway)
        parser.add_argument("--only", default="", metavar="NAME", help="only tests with this in their name")
        parser.add_argument("--list", action="store_true", help="list the tests and what each proves")
        asked = parser.parse_args()
        if self.needs_gateway and not os.access(asked.binary, os.X_OK):
            parser.error(f"{asked.binary} is not a program")
        return asked

    def require_tools(self) -> None:
        """A missing tool is a failure, never a reason to skip."""
        os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where nginx and chroot are, and not on everybody's PATH
        lines = (self.home / "debian.txt").read_text().splitlines()
        tools = dict(line.split() for line in lines if not line.startswith("#"))
        missing = {tool: package for tool, package in tools.items() if shutil.which(tool) is None}
        if missing:
            packages = " ".join(sorted(set(missing.values())))
            sys.exit(f"missing: {', '.join(missing)} (Debian: apt-get install {packages})")

    def enter_environment(self) -> None:
        """Goes on in the environment that has the Python packages, which is made if need be."""
        environment = self.target / "venv"
        python = environment / "bin" / "python"
        if not self.packages or Path(sys.prefix) == environment:
            return
        made = environment / "made"
        wanted = "\n".join(self.packages)
        if not made.exists() or made.read_text() != wanted:
            print(f"making {environment}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *self.packages], check=True)
            made.write_text(wanted)
        os.execv(python, [str(python), *sys.argv])

    def all_tests(self) -> list[Test]:
        """The functions named `test_...`, in the order in which they are written, on each of their stages."""
        return [
            Test(f"{module}.{name.removeprefix('test_')}{suffix}", function, stage)
            for module in self.modules
            for name, function in vars(importlib.import_module(f"test_{module}")).items()
            if name.startswith("test_") and inspect.isfunction(function) and function.__module__ == f"test_{module}"
            for suffix, stage in self.other_stages.get(module, {"": self.stage}).items()
        ]

    def passes(self, test: Test, binary: Path, until: float) -> bool:
        """Runs one test and says how it went."""
        began, directory = time.monotonic(), self.target / "runs" / test.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        try:
            with test.stage(binary, directory) as scene:
                self.limited(test, scene, until)
        except Exception as error:
            print(f"FAIL {time.monotonic() - began:5.1f} s  {test.name}: {test.about}")
            (directory / "traceback.txt").write_text(traceback.format_exc())
            print("    " + self.story_of(error).replace("\n", "\n    "))
            print(f"    more in {directory}", flush=True)
            return False
        shutil.rmtree(directory)
        print(f"pass {time.monotonic() - began:5.1f} s  {test.name}: {test.about}", flush=True)
        return True

    def story_of(self, error: Exception) -> str:
        """What went wrong, and on which lines of the tests."""
        kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
        frames = traceback.extract_tb(error.__traceback__)
        places = [
            f"{Path(frame.filename).name}:{frame.lineno}: {frame.line}"
            for frame in frames
            if Path(frame.filename).parent == self.home and "test_" in frame.filename
        ]
        return "\n".join([f"{kind}{error}".strip(), *places])

    def limited(self, test: Test, scene: object, until: float) -> None:
        """Runs the test for as long as one may take, and no longer than there is time for all."""
        signal.alarm(max(1, round(min(self.limit, until - time.monotonic()))))
        try:
            test.function(scene)
        finally:
            signal.alarm(0)

    def expire(self, _number: int, _frame: FrameType | None) -> None:
        """Ends a test that takes too long."""
        together = f", and all together {self.limit_of_all} s" if self.limit_of_all < math.inf else ""
        raise TimeoutError(f"took too long: one test may take {self.limit} s{together}")


def leave_settings_behind() -> None:
    """Nothing that the user has set for himself changes the gateway, or puts a proxy before it."""
    for name in [name for name in os.environ if name.startswith(("SLUICEGATE_", "OTEL_")) or name == "RUST_LOG"]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"


def stop(number: int, _frame: FrameType | None) -> None:
    """Ends the run, and with it all that it started."""
    sys.exit(128 + number)
