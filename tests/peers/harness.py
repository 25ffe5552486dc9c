"""The stage of a test: processes that always end, a gateway, backends, and reads that wait only so long."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from apps import payload
from claims import GUARD, Failed, check, equal, eventually

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(sys.prefix)
"""The suite's own environment, which this runs in."""
PEERS = Path(__file__).resolve().parent


def free_port() -> int:
    """A port that nobody listens on, for programs that can't choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Whether connections to the port are taken."""
    with socket.socket() as probe:
        probe.settimeout(GUARD)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A program in the background, in its own process group. What it says on standard error is kept in a file."""

    def __init__(self, name: str, arguments: list[str], directory: Path, **environment: str) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                arguments,
                cwd=directory,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout
        self.stdout = Pipe(name, self._process.stdout.fileno())

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process."""
        self._process.send_signal(number)

    def is_running(self) -> bool:
        """Whether it hasn't ended."""
        return self._process.poll() is None

    def exit_code(self, guard: float = GUARD) -> int:
        """Waits for its end. Negative: the signal that killed it."""
        try:
            return self._process.wait(guard)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} still runs after {guard:g} s") from None

    def kill(self) -> None:
        """Ends it and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


class Pipe:
    """A program's standard output, as it comes."""

    def __init__(self, name: str, descriptor: int) -> None:
        self._name = name
        self._descriptor = descriptor
        self._held = b""

    def _fill(self, guard: float) -> bool:
        """Waits for more; false at the end."""
        if not select.select([self._descriptor], [], [], guard)[0]:
            raise Failed(f"{self._name} printed nothing for {guard:g} s after {self._held!r}")
        more = os.read(self._descriptor, 65536)
        self._held += more
        return bool(more)

    def exactly(self, size: int) -> bytes:
        """So many bytes; fewer only at the end."""
        while len(self._held) < size and self._fill(GUARD):
            pass
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def until(self, mark: bytes) -> bytes:
        """Everything up to the mark, and the mark."""
        while mark not in self._held:
            check(self._fill(GUARD), f"{self._name} ended without {mark!r}, after {self._held!r}")
        return self.exactly(self._held.index(mark) + len(mark))

    def line(self) -> bytes:
        """The next line; nothing at the end."""
        while b"\n" not in self._held and self._fill(GUARD):
            pass
        return self.exactly(self._held.find(b"\n") + 1)

    def rest(self) -> bytes:
        """Everything up to the end."""
        while self._fill(GUARD):
            pass
        return self.exactly(len(self._held))

    def is_silent(self) -> bool:
        """Whether nothing comes for a while."""
        return not self._held and not select.select([self._descriptor], [], [], 0.5)[0]


class Backend:
    """The application of `apps/stream_app.py` in uvicorn, and the side channel to it."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url

    def seen(self, name: str, times: int = 1) -> None:
        """The client has seen the next chunk of the stream."""
        httpx.post(f"{self.url}/seen/{name}", params={"times": times}, timeout=GUARD).raise_for_status()

    def wait(self, what: str, name: str) -> None:
        """Waits until the stream has `produced` its first chunk, or was `left`."""
        try:
            httpx.get(f"{self.url}/wait/{what}/{name}", timeout=GUARD).raise_for_status()
        except httpx.ReadTimeout:
            raise Failed(f"the backend has not seen after {GUARD:g} s: {what}") from None


class Gateway:
    """The gateway under test."""

    def __init__(self, process: Process, url: str, access_log: Path) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self._access_log = access_log

    def records(self, least: int = 1) -> list[dict[str, str]]:
        """The lines of the access log, of which there must be so many."""
        eventually(f"{least} lines in the access log", lambda: self.record_count() >= least)
        return [json.loads(line) for line in self._access_log.read_text().splitlines()]

    def record_count(self) -> int:
        """How many lines the access log has."""
        return self._access_log.read_bytes().count(b"\n") if self._access_log.exists() else 0


class Scene:
    """Everything that one test starts. All of it is gone at its end."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self.directory = directory
        self.binary = binary
        self._processes: list[Process] = []
        self._last_steps: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.kill()
        for step in self._last_steps:
            step()

    def at_end(self, step: Callable[[], None]) -> None:
        """Does a step once all processes are gone."""
        self._last_steps.append(step)

    def start(self, name: str, *arguments: str, **environment: str) -> Process:
        """Starts a program."""
        name = f"{len(self._processes)}-{name}"
        process = Process(name, [str(each) for each in arguments], self.directory, **environment)
        self._processes.append(process)
        return process

    def run(self, *arguments: str, guard: float = 30) -> subprocess.CompletedProcess[bytes]:
        """Runs a program to its end."""
        try:
            return subprocess.run(
                arguments, cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True, timeout=guard
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"still runs after {guard:g} s: {' '.join(arguments)}") from None

    def await_port(self, process: Process, port: int) -> None:
        """Waits until a program listens."""
        eventually(f"{process.name} listens", lambda: is_listening(port) or not process.is_running(), guard=20)
        check(process.is_running(), f"{process.name} ended at its start: {process.log.read_text()[-2000:]}")

    def uvicorn(self) -> Backend:
        """Starts the application of `apps/stream_app.py`."""
        port = free_port()
        arguments = ["-m", "uvicorn", "--app-dir", str(PEERS / "apps"), "--port", str(port), "stream_app:app"]
        process = self.start("uvicorn", str(VENV / "bin" / "python"), *arguments)
        self.await_port(process, port)
        return Backend(process, f"http://127.0.0.1:{port}")

    def nginx(self, server: str, http: str = "") -> str:
        """Starts nginx with one server of these directives, and returns its URL. Its files are in `self.directory`."""
        port = free_port()
        home = self.directory / f"nginx-{port}"
        home.mkdir()
        temporary = "".join(
            f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = home / "nginx.conf"
        config.write_text(f"""
daemon off; master_process off; pid {home}/pid; error_log stderr;
events {{}}
http {{
    {temporary} access_log off; default_type application/octet-stream;
    {http}
    server {{ listen 127.0.0.1:{port}; {server} }}
}}
""")
        process = self.start("nginx", "nginx", "-p", str(home), "-e", "stderr", "-c", str(config))
        self.await_port(process, port)
        return f"http://127.0.0.1:{port}"

    def gateway(self, backend: str, **settings: Any) -> Gateway:
        """Starts the gateway with `/stream/...` and `/buffered/...`, both of which lead to `/...` of the backend."""
        paths = {
            "/stream/{proxy+}": proxy(backend, "STREAM"),
            "/buffered/{proxy+}": proxy(backend, "BUFFERED"),
        }
        return self.serve(paths, **settings)

    def serve(
        self,
        paths: dict[str, Any],
        environment: dict[str, str] | None = None,
        name: str = "sluicegate",
        **settings: Any,
    ) -> Gateway:
        """Starts a gateway with these paths. Its files have this name, by which several can be told apart."""
        document = {"openapi": "3.0.3", "info": {"title": "Peers", "version": "1"}, "paths": paths}
        access_log = self.directory / f"{name}-access.log"
        defaults = {
            "listeners": [{"address": "127.0.0.1:0", "h2c": True}],
            "apis": [{"definition": f"{name}-openapi.json"}],
            "accessLog": {"path": str(access_log)},
        }
        (self.directory / f"{name}-openapi.json").write_text(json.dumps(document, indent=2))
        config = self.directory / f"{name}.yaml"
        config.write_text(json.dumps({**defaults, **settings}, indent=2))
        process = self.start(name, str(self.binary), "serve", str(config), **(environment or {}))
        eventually("the gateway listens", lambda: gateway_url(process) or not process.is_running(), guard=20)
        url = gateway_url(process)
        if url is None:
            raise Failed(f"the gateway ended at its start: {process.log.read_text()}")
        return Gateway(process, url, access_log)

    def curl(self, *arguments: str) -> Process:
        """Starts curl in the background, to be read as it prints."""
        return self.start("curl", "curl", "--silent", "--show-error", "--no-buffer", *arguments)

    def fetch(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Runs curl to its end."""
        return self.run("curl", "--silent", "--show-error", *arguments)


def gateway_url(process: Process) -> str | None:
    """The address that a gateway says it listens on."""
    said = re.search(r"listening on (http://\S+)", process.log.read_text())
    return said and said[1]


def proxy(backend: str, mode: str) -> dict[str, Any]:
    """A path item that passes every method on."""
    return {
        "x-amazon-apigateway-any-method": {
            "parameters": [{"name": "proxy", "in": "path", "required": True, "schema": {"type": "string"}}],
            "x-amazon-apigateway-integration": {
                "type": "http_proxy",
                "httpMethod": "ANY",
                "uri": f"{backend}/{{proxy}}",
                "requestParameters": {"integration.request.path.proxy": "method.request.path.proxy"},
                "timeoutInMillis": 29000,
                "responseTransferMode": mode,
            },
        }
    }


def stream_name() -> str:
    """A name for a stream that no other has."""
    return uuid.uuid4().hex


def lock_step(read: Callable[[int], bytes], backend: Backend, name: str, chunks: int, first: int = 0) -> None:
    """Reads the chunks of a lock-step stream, and lets each next one out by having seen the one before.

    A gateway that holds a chunk back is never given the next one, so the read runs into its guard.
    """
    for number in range(first, chunks):
        expected = payload.chunk(number)
        equal(read(len(expected)), expected, f"chunk {number}")
        backend.seen(name)


@contextlib.contextmanager
def http_stream(url: str) -> Iterator[tuple[httpx.Response, Callable[[int], bytes]]]:
    """GETs with httpx: the response, and a function that reads exactly so many bytes (fewer at the end)."""
    with httpx.stream("GET", url, timeout=GUARD) as response:
        pieces = response.iter_raw()
        held = b""

        def read(size: int) -> bytes:
            nonlocal held
            try:
                while len(held) < size and (piece := next(pieces, b"")):
                    held += piece
            except httpx.ReadTimeout:
                raise Failed(f"nothing arrived for {GUARD:g} s after {held!r}") from None
            taken, held = held[:size], held[size:]
            return taken

        yield response, read
