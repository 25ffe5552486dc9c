#!/usr/bin/env python3
"""Tests the runtimes for local functions, Node's and Python's, against a Runtime API that the tests play.

    python3 tests/runtimes/run.py [--only NAME] [--list]

Needs Node and Python, and nothing built. What the runtimes of a failed test said is kept in
`target/runtimes/runs/NAME/`. The exit status is 0 only if all tests pass.
"""

import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent
sys.path.append(str(HOME.parent / "suite"))

from harness import Scene  # noqa: E402
from suite import Stage, Suite  # noqa: E402


def on(language: str) -> Stage:
    """Scenes with the runtime of a language."""
    return lambda _, directory: Scene(language, directory)


SUITE = Suite(
    home=HOME,
    about=__doc__,
    modules=["both", "node", "python", "examples"],
    stage=on("node"),
    other_stages={"both": {".node": on("node"), ".python": on("python")}, "python": {"": on("python")}},
    limit=40,
    needs_gateway=False,
)

if __name__ == "__main__":
    sys.exit(SUITE.main())
