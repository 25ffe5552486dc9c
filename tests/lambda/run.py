#!/usr/bin/env python3
"""Tests the gateway's functions with runtimes, SDKs and adapters that other people wrote.

    python3 tests/lambda/run.py --binary target/release/sluicegate [--only NAME] [--list]

The first run makes all that is needed in `target/lambda`, for minutes. What the programs of a failed test said is kept
in `target/lambda/runs/NAME/`. The exit status is 0 only if all tests pass.
"""

import importlib
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent
# Its tests run on the scenes of `peers`.
sys.path += [str(HOME.parent / "suite"), str(HOME.parent / "peers")]

from prepare import prepare  # noqa: E402
from suite import Suite  # noqa: E402

SUITE = Suite(
    home=HOME,
    about=__doc__,
    packages=["boto3", "awscli", "awslambdaric==4.2.2", "fastapi", "uvicorn", "httpx"],
    modules=["bundled", "runtimes", "sdks", "remote", "robust"],
    # Its module can only be imported in the environment.
    stage=lambda binary, directory: importlib.import_module("harness").Scene(binary, directory),
    limit=90,
    limit_of_all=400,
    prepare=prepare,
)

if __name__ == "__main__":
    sys.exit(SUITE.main())
