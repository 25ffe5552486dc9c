"""The stage of a test: a runtime in its process, and the Runtime API that it speaks to, played by the test itself.

The test is the server: it takes each request of the runtime by hand, byte by byte and strictly, and answers when it
pleases.
"""

import base64
import contextlib
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from claims import GUARD, Failed, check, equal, eventually

RUNTIMES = Path(__file__).resolve().parent
ROOT = RUNTIMES.parents[1]
BOOTSTRAP = ROOT / "src" / "lambda" / "bootstrap"
COMMANDS = {"node": ["node", str(BOOTSTRAP / "node.mjs")], "python": [sys.executable, str(BOOTSTRAP / "python.py")]}
PREFIX = "/2018-06-01/runtime/"
RAW = "application/octet-stream"
INTEGRATION = "application/vnd.awslambda.http-integration-response"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:echo"


class Connection:
    """A connection of the runtime's."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(GUARD)
        self.sock = sock
        self.held = b""

    def fill(self) -> bool:
        """Reads what there is; false at the end."""
        try:
            more = self.sock.recv(65536)
        except TimeoutError:
            raise Failed(f"nothing arrived for {GUARD:g} s after {self.held[-200:]!r}") from None
        except ConnectionError:
            return False
        self.held += more
        return bool(more)

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        while len(self.held) < size:
            check(self.fill(), f"the connection ended after {self.held[-200:]!r}")
        taken, self.held = self.held[:size], self.held[size:]
        return taken

    def line(self) -> str:
        """A line, which ends with CR and LF and has neither in it."""
        while b"\n" not in self.held:
            check(self.fill(), f"the connection ended after {self.held[-200:]!r}")
        line = self.exactly(self.held.index(b"\n") + 1)
        check(line.endswith(b"\r\n") and b"\r" not in line[:-2], f"not a line: {line!r}")
        return line[:-2].decode("latin-1")

    def fields(self) -> dict[str, str]:
        """Header lines or trailers, up to the empty line; names in lower case, repeated ones joined."""
        fields: dict[str, str] = {}
        while line := self.line():
            matched = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x20-\x7e]*)", line)
            if not matched:
                raise Failed(f"not a header line: {line!r}")
            name = matched[1].lower()
            fields[name] = f"{fields[name]}, {matched[2]}" if name in fields else matched[2]
        return fields

    def is_silent(self) -> bool:
        """Whether nothing comes for a while."""
        self.sock.settimeout(0.3)
        try:
            return not self.held and not self.fill()
        except Failed:
            return True
        finally:
            self.sock.settimeout(GUARD)

    def drain(self) -> None:
        """Reads on until the runtime closes the connection."""
        while self.fill():
            self.held = b""
        self.sock.close()

    def cut(self) -> None:
        """Closes the connection, as the gateway does when the client has left."""
        self.sock.close()


class Request:
    """A request of the runtime's: the head is read, the body is not."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.method, path, version = connection.line().split(" ")
        equal(version, "HTTP/1.1", "version")
        check(path.startswith(PREFIX), f"path {path}")
        self.target = path.removeprefix(PREFIX)
        self.headers = connection.fields()

    def chunk(self) -> bytes:
        """The next chunk, of at least one byte."""
        size = int(self._size(), 16)
        check(size > 0, "the body ended")
        data = self.connection.exactly(size)
        equal(self.connection.exactly(2), b"\r\n", "after a chunk")
        return data

    def _size(self) -> str:
        line = self.connection.line()
        check(re.fullmatch(r"[0-9a-fA-F]+", line), f"not a chunk size: {line!r}")
        return line

    def read(self, size: int) -> bytes:
        """So many bytes of a chunked body, in chunks of whatever size."""
        data = b""
        while len(data) < size:
            data += self.chunk()
        equal(len(data), size, "bytes")
        return data

    def end(self) -> dict[str, str]:
        """The end of a chunked body: its trailers, all of them announced."""
        equal(int(self._size(), 16), 0, "size of the last chunk")
        trailers = self.connection.fields()
        announced = self.headers.get("trailer", "").lower().split(", ")
        check(set(trailers) <= set(announced), f"trailers {list(trailers)} were not announced: {announced}")
        return trailers

    def body(self) -> bytes:
        """A whole body, with or without a length."""
        if "content-length" in self.headers:
            check("transfer-encoding" not in self.headers, "a length and chunks")
            return self.connection.exactly(int(self.headers["content-length"]))
        body = b""
        while not self.connection.held.startswith(b"0"):
            body += self.chunk() if self.connection.held else self._filled()
        equal(self.end(), {}, "trailers")
        return body

    def _filled(self) -> bytes:
        check(self.connection.fill(), "the connection ended in the body")
        return b""

    def answer(self, status: int = 202, body: str = '{"status":"OK"}', headers: str = "") -> None:
        """Answers, and leaves the connection open."""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.connection.sock.sendall((head + body).encode())


class Environment:
    """An execution environment: a runtime with a function, and its Runtime API."""

    def __init__(self, language: str, handler: str, code: Path, directory: Path, variables: dict[str, str]) -> None:
        self.directory = directory
        self.log = directory / "log"
        self._count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[Connection] = []
        port = self._listener.getsockname()[1]
        environment = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "_HANDLER": handler,
            "LAMBDA_TASK_ROOT": str(code),
            "AWS_LAMBDA_FUNCTION_NAME": "echo",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/echo",
            "AWS_LAMBDA_LOG_STREAM_NAME": "the-stream",
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                COMMANDS[language],
                cwd=code,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def request(self) -> Request:
        """The runtime's next request, on whichever connection it comes."""
        until = time.monotonic() + GUARD
        while True:
            connection = self._readable(max(0, until - time.monotonic()))
            if connection.held or connection.fill():
                return Request(connection)
            self._connections.remove(connection)
            connection.sock.close()

    def _readable(self, guard: float) -> Connection:
        for connection in self._connections:
            if connection.sock.fileno() == -1:
                self._connections.remove(connection)
                return self._readable(guard)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            for connection in self._connections:
                selector.register(connection.sock, selectors.EVENT_READ, connection)
            ready = selector.select(guard)
        if not ready:
            raise Failed(f"the runtime asked for nothing; it said: {self.said()[-2000:]}")
        for connection in [key.data for key, _ in ready if key.data]:
            return connection  # type: ignore[no-any-return]
        connection = Connection(self._listener.accept()[0])
        self._connections.append(connection)
        return self._readable(guard)

    def next(self) -> Request:
        """Waits until the runtime asks for an invocation."""
        request = self.request()
        if (request.method, request.target) != ("GET", "invocation/next"):
            raise Failed(f"{request.method} {request.target}: {request.body()!r}; it said: {self.said()[-2000:]}")
        return request

    def invoke(self, event: Any = None, headers: str = "", next: Request | None = None) -> str:
        """Lets the runtime have an invocation, and returns its id."""
        request = next or self.next()
        self._count += 1
        request_id = f"00000000-0000-4000-8000-{self._count:012}"
        deadline = int(time.time() * 1000) + 30_000
        request.answer(
            200,
            json.dumps(event),
            f"Lambda-Runtime-Aws-Request-Id: {request_id}\r\nLambda-Runtime-Deadline-Ms: {deadline}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {ARN}\r\n{headers}",
        )
        return request_id

    def post(self, target: str) -> Request:
        """The runtime's next request, which is this."""
        request = self.request()
        if (request.method, request.target) != ("POST", target):
            body = request.body() if "content-length" in request.headers else b""
            raise Failed(f"{request.method} {request.target} {body!r}, expected {target}; {self.said()[-2000:]}")
        return request

    def stream(self, request_id: str, content_type: str = RAW) -> Request:
        """The head of a streamed response."""
        post = self.post(f"invocation/{request_id}/response")
        equal(post.headers.get("lambda-runtime-function-response-mode"), "streaming", "response mode")
        equal(post.headers.get("transfer-encoding"), "chunked", "transfer encoding")
        equal(post.headers.get("content-type"), content_type, "content type")
        return post

    def result(self, event: Any = None) -> Any:
        """The result of an invocation."""
        post = self.post(f"invocation/{self.invoke(event)}/response")
        body = post.body()
        post.answer()
        equal(post.headers["content-type"], "application/json", "content type")
        return json.loads(body)

    def error(self, target: str, kind: str) -> dict[str, Any]:
        """An error, of this type."""
        post = self.post(target)
        body = json.loads(post.body())
        post.answer()
        equal(post.headers["lambda-runtime-function-error-type"], kind, "error type in the header")
        equal(body["errorType"], kind, "error type in the body")
        return dict(body)

    def failure(self, kind: str, event: Any = None) -> dict[str, Any]:
        """The error that an invocation ends with."""
        return self.error(f"invocation/{self.invoke(event)}/error", kind)

    def seen(self, name: object) -> None:
        """Lets a handler that waits for this go on."""
        (self.directory / "gate" / str(name)).touch()

    def noted(self, name: str) -> str:
        """What a handler has noted."""
        note = self.directory / "gate" / name
        eventually(f"the handler notes `{name}`; it said: {self.said()[-2000:]}", note.exists)
        return note.read_text()

    def said(self) -> str:
        """All that the function and its runtime have printed."""
        return self.log.read_text(errors="replace")

    def exit_code(self) -> int:
        """Waits for the end of the process."""
        try:
            return self.process.wait(GUARD)
        except subprocess.TimeoutExpired:
            raise Failed(f"still runs after {GUARD:g} s: {self.said()[-2000:]}") from None

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]

    def descriptors(self) -> int:
        """Open files and sockets."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def kill(self) -> None:
        """Ends the process and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._listener.close()
        for connection in self._connections:
            connection.sock.close()


class Scene:
    """Everything that one test starts. All of it is gone at its end."""

    def __init__(self, language: str, directory: Path) -> None:
        self.language = language
        self.directory = directory
        self._environments: list[Environment] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for environment in self._environments:
            environment.kill()

    def start(self, handler: str, code: Path | None = None, **variables: str) -> Environment:
        """Starts a runtime for a handler, of those in `functions` unless the code is elsewhere."""
        directory = self.directory / f"{len(self._environments)}"
        gate = directory / "gate"
        gate.mkdir(parents=True)
        code = code or RUNTIMES / "functions" / self.language
        environment = Environment(self.language, handler, code, directory, {"GATE": str(gate), **variables})
        self._environments.append(environment)
        return environment

    def code(self, **files: str) -> Path:
        """A folder with these files; `__` in a name is a slash and `_dot_` a dot."""
        folder = self.directory / "code"
        for name, text in files.items():
            file = folder / name.replace("__", "/").replace("_dot_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return folder


def broken(trailers: dict[str, str], kind: str) -> dict[str, Any]:
    """The error in the trailers of a stream, which is of this type."""
    equal(trailers.get("lambda-runtime-function-error-type"), kind, f"error type in the trailers {trailers}")
    body = json.loads(base64.b64decode(trailers["lambda-runtime-function-error-body"], validate=True))
    equal(body["errorType"], kind, "error type in the trailers' body")
    return dict(body)
