#!/usr/bin/env python3
"""Tests the gateway against clients, servers and load tools that other people wrote.

    python3 tests/peers/run.py --binary target/release/sluicegate [--only NAME] [--list]

The first run makes a Python environment in `target/peers/venv`. What the programs of a failed test said is kept in
`target/peers/runs/NAME/`. The exit status is 0 only if all tests pass.
"""

import importlib
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent
sys.path.append(str(HOME.parent / "suite"))

from suite import Suite  # noqa: E402

SUITE = Suite(
    home=HOME,
    about=__doc__,
    packages=["fastapi", "uvicorn", "openai", "httpx"],
    modules=["asgi", "openai", "node", "curl", "nginx", "load", "nghttp", "upload", "shutdown", "prometheus"],
    # Its module can only be imported in the environment.
    stage=lambda binary, directory: importlib.import_module("harness").Scene(binary, directory),
    limit=40,
    limit_of_all=170,
)

if __name__ == "__main__":
    sys.exit(SUITE.main())
