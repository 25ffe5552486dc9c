#!/usr/bin/env python3
"""Tests the gateway against clients, servers and load tools that other people wrote.

    python3 tests/peers/run.py --binary target/release/sluicegate [--only NAME] [--list]

The first run makes a Python environment in `target/peers/venv`. What the programs of a failed test said is kept in
`target/peers/runs/NAME/`. The exit status is 0 only if all tests pass.
"""

import sys
from pathlib import Path

from suite import Suite

SUITE = Suite(
    home=Path(__file__).resolve().parent,
    about=__doc__,
    packages=["fastapi", "uvicorn", "openai", "httpx"],
    modules=["asgi", "openai", "node", "curl", "nginx", "load", "nghttp", "upload", "shutdown", "prometheus"],
    limit=40,
    limit_of_all=170,
)

if __name__ == "__main__":
    sys.exit(SUITE.main())
