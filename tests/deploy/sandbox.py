"""A disposable copy of this system, and a container made of namespaces."""

import contextlib
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from claims import check, eventually
from dockerfile import Image

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target" / "deploy"
GUARD = 20.0
"""Seconds that a step may take. No test measures time: one that takes this long hangs."""


def run(*arguments: str | Path, **environment: str) -> str:
    """Runs a program, which must succeed, and returns all that it says."""
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    check(done.returncode == 0, f"`{shlex.join(map(str, arguments))}` ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def in_disposable_root(script: str) -> str:
    """Runs a script with `$root`, a copy of this system in which it may write what it likes.

    All of it is gone at the end, so the script must copy what it wants to keep.
    """
    with tempfile.TemporaryDirectory() as place:
        prelude = f"""
set -euo pipefail
mount -t tmpfs none {place}
mkdir {place}/upper {place}/work {place}/root
mount -t overlay none -o lowerdir=/,upperdir={place}/upper,workdir={place}/work {place}/root
root={place}/root
mount --rbind /dev $root/dev
mount -t proc none $root/proc
"""
        return run("unshare", "--mount", "bash", "-c", prelude + script)


def tool(name: str) -> str:
    """Where a program of this system is."""
    found = shutil.which(name)
    check(found, f"there is {name}")
    return str(found)


class Container:
    """The image in a network, process and mount namespace of its own, as a container engine runs it."""

    def __init__(self, image: Image, root: Path, etc: Path, hosts: str) -> None:
        """Starts it with `etc` as its configuration and `hosts` as the names it knows."""
        self.image = image
        # What an engine adds to an image's files.
        for name in ("proc", "dev"):
            (root / name).mkdir(exist_ok=True)
        (root / "dev" / "null").touch()
        (root / "etc" / "hosts").write_text(hosts)
        command = shlex.join([*image.entrypoint, *image.command])
        environment = " ".join(shlex.quote(f"{name}={value}") for name, value in image.environment.items())
        script = f"""
set -euo pipefail
ip link set lo up
mount --bind {root} {root}
mount --bind {etc} {root}/etc/sluicegate
mount --bind /dev/null {root}/dev/null
mount -t proc none {root}/proc
mount -o remount,bind,ro {root}/etc/sluicegate
mount -o remount,bind,ro {root}
exec env -i {environment} {tool("setpriv")} --no-new-privs {tool("chroot")} --userspec={image.user} {root} {command}
"""
        self.log = TARGET / "container.log"
        with self.log.open("wb") as log:
            self._unshare = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        started = "the first process has started"
        eventually(started, lambda: self._unshare.poll() is not None or children.read_text(), GUARD)
        self.pid = int(children.read_text() or 0) if self._unshare.poll() is None else 0
        self._others: list[subprocess.Popen[bytes]] = []

    def ready(self) -> None:
        """Waits until the image's own health check says that it serves."""
        eventually(
            f"it is healthy, see {self.log}",
            lambda: self._unshare.poll() is not None or self.health().returncode == 0,
            GUARD,
        )
        check(self._unshare.poll() is None, f"it ended at its start: {self.log.read_text()[-2000:]}")

    def health(self) -> subprocess.CompletedProcess[str]:
        """Runs the image's HEALTHCHECK inside, as its user."""
        user, group = self.image.user.split(":")
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--root"]
        return subprocess.run(
            [*inside, f"--setuid={user}", f"--setgid={group}", *self.image.healthcheck],
            env=self.image.environment,
            capture_output=True,
            text=True,
            timeout=GUARD,
        )

    def beside(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a program of this system in the container's network."""
        process = subprocess.Popen(
            ["nsenter", f"--target={self.pid}", "--net", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._others.append(process)
        return process

    def get(self, url: str) -> tuple[int, str]:
        """The status and body of a URL, as curl in the container's network gets it."""
        curl = self.beside("curl", "--silent", "--write-out", "\n%{http_code}", url)
        said, _ = curl.communicate(timeout=GUARD)
        body, _, status = said.decode().rpartition("\n")
        return int(status), body

    def status(self, key: str) -> list[str]:
        """A line of the first process's status, as the kernel tells it."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.split()[1:] for line in lines if line.startswith(f"{key}:"))

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the first process."""
        os.kill(self.pid, number)

    def exit_code(self) -> int:
        """Waits for the end of the first process."""
        return self._unshare.wait(GUARD)

    def end(self) -> None:
        """Ends all that runs."""
        # By itself: the kernel forgets `--kill-child` when the first process changes its user.
        if self.pid and self._unshare.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        for process in [self._unshare, *self._others]:
            process.kill()
            process.wait()


@contextlib.contextmanager
def container(image: Image, root: Path, etc: Path, hosts: str = "127.0.0.1 localhost\n") -> Iterator[Container]:
    """A container that is gone at the end."""
    copy = TARGET / "container"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(root, copy, symlinks=True)
    made = Container(image, copy, etc, hosts)
    try:
        yield made
    finally:
        made.end()


def read_until(process: subprocess.Popen[bytes], mark: bytes) -> bytes:
    """Reads what a program prints up to a mark."""
    assert process.stdout
    held = b""
    while mark not in held:
        check(select.select([process.stdout], [], [], GUARD)[0], f"nothing came for {GUARD:g} s after {held!r}")
        more = os.read(process.stdout.fileno(), 65536)
        check(more, f"it ended after {held!r}")
        held += more
    return held
