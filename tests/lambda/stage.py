"""Gateways with functions, the ways to call one, and streams that go on only when somebody has seen the last chunk.

A function's next chunk waits for a file in its directory of steps, which a test makes once the last chunk has reached
the client. A gateway that holds a chunk back never gets the next one, and the test runs into its guard.
"""

import contextlib
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import httpx

from apps import payload
from claims import GUARD, check, equal, eventually
from harness import Gateway, Scene, http_stream

HOME = Path(__file__).resolve().parent
TARGET = HOME.parents[1] / "target" / "lambda"
FUNCTIONS = HOME / "functions"
EXAMPLES = HOME.parent / "runtimes" / "functions" / "examples"
MARK = "SLUICEGATE_SCENE"
CHUNKS = 4
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
DELIMITER = bytes(8)

Read = Callable[[int], bytes]


class Steps:
    """The directory of a lock-step stream."""

    def __init__(self, scene: Scene) -> None:
        self.path = scene.directory / f"steps-{uuid.uuid4().hex}"
        self.path.mkdir()

    def seen(self, number: int) -> None:
        """The client has seen a chunk."""
        (self.path / str(number)).touch()

    def all_seen(self) -> "Steps":
        """Nothing is waited for."""
        for number in range(CHUNKS):
            self.seen(number)
        return self

    def follow(self, read: Read) -> None:
        """Reads the chunks, and lets each next one out by having seen the one before."""
        for number in range(CHUNKS):
            expected = payload.chunk(number)
            equal(read(len(expected)), expected, f"chunk {number}")
            self.seen(number)

    def __str__(self) -> str:
        return str(self.path)


def whole() -> bytes:
    """All chunks of a lock-step stream."""
    return b"".join(payload.chunk(number) for number in range(CHUNKS))


def local(scene: Scene, runtime: str, handler: str, **settings: Any) -> dict[str, Any]:
    """A local function of the folder `functions`. Its processes can be told from those of other tests."""
    scene.at_end(lambda: kill_all(scene))
    code = FUNCTIONS / ("python" if runtime.startswith("python") else "node")
    return {
        "runtime": runtime,
        "handler": handler,
        "codeUri": str(code),
        "timeout": 30,
        "initTimeout": 30,
        "environment": {MARK: str(scene.directory)},
        **settings,
    }


def node(scene: Scene, handler: str, **settings: Any) -> dict[str, Any]:
    """A function in Node."""
    return local(scene, "nodejs20.x", f"index.{handler}", **settings)


def python(scene: Scene, handler: str, **settings: Any) -> dict[str, Any]:
    """A function in Python."""
    return local(scene, "python3.11", f"app.{handler}", **settings)


def serve(scene: Scene, functions: dict[str, Any], **more: Any) -> Gateway:
    """Starts a gateway with `/stream/NAME` and `/buffered/NAME` for each function.

    Their URLs stream; that of `NAME-whole`, the same function once more, is buffered.
    """
    paths, all_functions = {}, {}
    for name, function in functions.items():
        paths[f"/stream/{name}"] = integration(name, "STREAM")
        paths[f"/buffered/{name}"] = integration(name, "BUFFERED")
        all_functions[name] = {**function, "functionUrlConfig": {"invokeMode": "RESPONSE_STREAM"}}
        all_functions[f"{name}-whole"] = {**function, "functionUrlConfig": {"invokeMode": "BUFFERED"}}
    return scene.serve(paths, functions=all_functions, shutdown={"preStopDelayInMillis": 0}, **more)


def integration(function: str, mode: str, **more: Any) -> dict[str, Any]:
    """A path item whose every method calls the function."""
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{function}"
    action = {
        "STREAM": f"2021-11-15/functions/{arn}/response-streaming-invocations",
        "BUFFERED": f"2015-03-31/functions/{arn}/invocations",
    }[mode]
    return {
        "x-amazon-apigateway-any-method": {
            "x-amazon-apigateway-integration": {
                "type": "aws_proxy",
                "httpMethod": "POST",
                "uri": f"arn:aws:apigateway:us-east-1:lambda:path/{action}",
                "timeoutInMillis": 29000,
                "responseTransferMode": mode,
                **more,
            },
        }
    }


def rest(gateway: Gateway, name: str, steps: object = "", mode: str = "stream") -> str:
    """The function behind the REST API."""
    return f"{gateway.url}/{mode}/{name}?steps={steps}"


def url(gateway: Gateway, name: str, steps: object = "") -> str:
    """The function's own URL."""
    return f"{gateway.url}/lambda-url/{name}/?steps={steps}"


def get(address: str) -> httpx.Response:
    """A whole answer."""
    return httpx.get(address, timeout=2 * GUARD)


def sdk(gateway: Gateway) -> Any:
    """boto3's client of Lambda, pointed at the gateway."""
    return boto3.client(
        "lambda",
        endpoint_url=gateway.url,
        region_name="us-east-1",
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        config=botocore.config.Config(read_timeout=2 * GUARD, retries={"total_max_attempts": 1}),
    )


class Events:
    """The event stream of an `InvokeWithResponseStream`, as bytes that come one by one, and its last event."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self._events: Iterator[dict[str, Any]] = iter(answer["EventStream"])
        self._held = b""
        self.complete: dict[str, Any] | None = None

    def _fill(self) -> bool:
        event = next(self._events, None)
        if event is None:
            return False
        check(self.complete is None, f"an event after InvokeComplete: {event!r}")
        if "InvokeComplete" in event:
            self.complete = event["InvokeComplete"]
        else:
            self._held += event["PayloadChunk"]["Payload"]
        return True

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only at the end."""
        while len(self._held) < size and self._fill():
            pass
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def until(self, mark: bytes) -> bytes:
        """Everything before the mark."""
        while mark not in self._held:
            check(self._fill(), f"no {mark!r} in {self._held!r}")
        before, self._held = self._held.split(mark, 1)
        return before

    def rest(self) -> bytes:
        """Everything up to the end."""
        while self._fill():
            pass
        return self.read(len(self._held))


@contextlib.contextmanager
def in_lock_step(address: str, steps: Steps, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """GETs a lock-step stream: the status is 201, these headers are there, then chunk by chunk."""
    with http_stream(address) as (response, read):
        equal(response.status_code, 201, "status")
        for name, value in headers.items():
            equal(response.headers.get(name), value, name)
        steps.follow(read)
        equal(read(1), b"", "after the last chunk")
        yield response


def processes(scene: Scene) -> set[int]:
    """The processes of the scene's functions."""
    mark = f"{MARK}={scene.directory}\0".encode()

    def is_ours(pid: int) -> bool:
        try:
            return mark in Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
        except OSError:
            return False

    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit() and is_ours(int(entry))}


def kill_all(scene: Scene) -> None:
    """Ends what a gateway that was killed has left: programs that don't speak the Runtime API don't notice it."""
    for pid in processes(scene):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end(scene: Scene, gateway: Gateway) -> None:
    """Ends the gateway, which leaves no process behind."""
    gateway.process.signal(signal.SIGTERM)
    equal(gateway.process.exit_code(15), 0, "the gateway's exit code")
    eventually("no process of a function is left", lambda: not processes(scene))


def outcomes(gateway: Gateway, least: int) -> list[str]:
    """How the requests went, from the access log."""
    return [record["outcome"] for record in gateway.records(least)]
