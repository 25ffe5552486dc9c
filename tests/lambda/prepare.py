"""What the tests need beside Python packages: npm packages, Rust functions, and the Lambda Web Adapter.

All of it goes into `target/lambda` and is made once. npm's and cargo's parts are made side by side.
"""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HOME = Path(__file__).resolve().parent
TARGET = HOME.parents[1] / "target" / "lambda"
NPM = TARGET / "npm"
RUST = TARGET / "rust"
ADAPTER = TARGET / "adapter"

NPM_PACKAGES = ["aws-lambda-ric@3.3.0", "@aws-sdk/client-lambda@3"]
ADAPTER_VERSION = "1.0.0-rc1"


def prepare() -> None:
    """Makes what isn't there."""
    TARGET.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        for lane in [pool.submit(npm), pool.submit(cargo)]:
            lane.result()


def npm() -> None:
    """Lambda's own Node runtime, whose native part is compiled here, and the SDK."""
    made, wanted = NPM / "made", "\n".join(NPM_PACKAGES)
    if made.exists() and made.read_text() == wanted:
        return
    shutil.rmtree(NPM, ignore_errors=True)
    NPM.mkdir()
    (NPM / "package.json").write_text("{}")
    run("npm packages", "npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *NPM_PACKAGES, directory=NPM)
    made.write_text(wanted)


def cargo() -> None:
    """The functions on Lambda's own Rust runtime, then the Lambda Web Adapter, which shares dependencies with them."""
    manifest = str(HOME / "functions" / "rust" / "Cargo.toml")
    # cargo itself knows whether they are up to date.
    run("Rust functions", "cargo", "build", "--quiet", "--locked", "--manifest-path", manifest, directory=HOME)
    made = ADAPTER / "made"
    if made.exists() and made.read_text() == ADAPTER_VERSION:
        return
    named = ["lambda_web_adapter", "--version", ADAPTER_VERSION, "--root", str(ADAPTER)]
    run("lambda_web_adapter", "cargo", "install", "--quiet", "--debug", "--force", "--locked", *named, directory=HOME)
    made.write_text(ADAPTER_VERSION)


def run(what: str, *command: str, directory: Path) -> None:
    """Runs a program to its end. What it says is told if it fails."""
    tell(f"making {what}")
    began = time.monotonic()
    # Dependencies' debug information would double what the build writes.
    variables = {**os.environ, "CARGO_TARGET_DIR": str(RUST), "CARGO_PROFILE_DEV_DEBUG": "0"}
    made = subprocess.run(command, cwd=directory, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if made.returncode != 0:
        raise SystemExit(f"{what} couldn't be made:\n{made.stdout.decode(errors='replace')[-4000:]}")
    tell(f"made {what} in {time.monotonic() - began:.0f} s")


def tell(line: str) -> None:
    """Prints a line in one piece."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
