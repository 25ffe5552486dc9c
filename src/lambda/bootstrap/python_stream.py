"""The streamed response of a Python function: what its handler yields, as it comes."""

from __future__ import annotations

import asyncio
import http.client
import json
import select
from typing import Any, Iterator, Optional, cast

from python_api import ERROR_BODY, ERROR_TYPE, PREFIX, Invocation, error_report, error_trailers, judge, log_report


class ClientLeft(Exception):
    """The peer has closed the connection, or answered before the end: nobody wants the rest."""


class StreamedResponse:
    """A response that leaves piece by piece, over the connection of the Runtime API.

    The standard library's client sends heads and reads answers; it knows no trailers, so chunks are written here.
    """

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.connection = invocation.api.connection
        self.has_begun = False

    def pieces(self, value: Any) -> bytes:
        """The bytes that a yielded value is on the wire; with the head before the first."""
        if not self.has_begun and isinstance(value, dict):
            prelude = json.dumps(value).encode()
            return self._head("application/vnd.awslambda.http-integration-response") + chunk(prelude) + chunk(bytes(8))
        if isinstance(value, str):
            value = value.encode()
        if not isinstance(value, (bytes, bytearray, memoryview)):
            place = "only the first value may be a dict" if isinstance(value, dict) else "yield str or bytes"
            raise TypeError(f"cannot stream a value of type {type(value).__name__}: {place}")
        head = b"" if self.has_begun else self._head("application/octet-stream")
        return head + chunk(bytes(value))

    def _head(self, content_type: str) -> bytes:
        """The head; the connection is opened if need be."""
        if self.connection.sock is None or self.is_refused():
            self.connection.close()
            self.connection.connect()
        self.has_begun = True
        lines = {
            "Host": f"{self.connection.host}:{self.connection.port}",
            "Content-Type": content_type,
            "Lambda-Runtime-Function-Response-Mode": "streaming",
            "Transfer-Encoding": "chunked",
            "Trailer": f"{ERROR_TYPE}, {ERROR_BODY}",
            **self.invocation.echoed,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {PREFIX}{self.invocation.target}/response HTTP/1.1\r\n{head}\r\n".encode()

    def is_refused(self) -> bool:
        """Whether the peer has closed, or has answered already: it has nothing to say before the end."""
        poll = select.poll()
        poll.register(self.connection.sock, select.POLLIN)
        return bool(poll.poll(0))

    def send(self, value: Any) -> None:
        """Sends a yielded value at once."""
        data = self.pieces(value)
        if self.is_refused():
            raise ClientLeft
        try:
            self.connection.sock.sendall(data)
        except OSError:
            raise ClientLeft from None

    async def send_async(self, value: Any) -> None:
        """The same, without holding up what else runs while the peer isn't reading."""
        data = self.pieces(value)
        self.connection.sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_sendall(self.connection.sock, data)
        except OSError:
            raise ClientLeft from None

    def end(self, error: Optional[BaseException] = None) -> None:
        """Ends the response, with trailers if it broke, and takes the answer."""
        trailers = b""
        if error is not None:
            report = error_report(error, self.invocation.request_id)
            log_report(report)
            trailers = error_trailers(report)
        head = b"" if self.has_begun else self._head("application/octet-stream")
        try:
            self.connection.sock.setblocking(True)
            self.connection.sock.sendall(head + b"0\r\n" + trailers + b"\r\n")
        except OSError:
            pass  # there may be an answer that says why
        self.take_answer()

    def take_answer(self, is_whole: bool = True) -> None:
        """Reads what the peer says in the end, if it says anything. It is kept only after a whole response."""
        self.connection.sock.setblocking(True)
        response = http.client.HTTPResponse(self.connection.sock, method="POST")
        try:
            response.begin()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return
        if response.will_close or response.status >= 300 or not is_whole:
            self.connection.close()
        judge(response.status, answer, f"{self.invocation.target}/response")


def chunk(data: bytes) -> bytes:
    """A chunk; nothing at all for no bytes, since an empty chunk would be the end."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


def stream(values: Iterator[Any], response: StreamedResponse) -> None:
    """Sends what an iterator brings. When the client leaves, a generator is closed: it sees GeneratorExit."""
    try:
        for value in values:
            response.send(value)
    finally:
        getattr(values, "close", lambda: None)()


async def stream_async(values: Any, response: StreamedResponse) -> None:
    """Sends what an asynchronous iterator brings.

    It learns at once that the client has left: what it awaits is cancelled, and then it is closed.
    """
    loop, task = asyncio.get_running_loop(), cast("asyncio.Task[None]", asyncio.current_task())
    sock: Any = None
    has_left = False

    def leave() -> None:
        nonlocal has_left
        has_left = True
        loop.remove_reader(sock)
        task.cancel()

    try:
        async for value in values:
            await response.send_async(value)
            if sock is None:
                sock = response.connection.sock
                loop.add_reader(sock, leave)
    except asyncio.CancelledError:
        if not has_left:
            raise
    finally:
        if sock is not None:
            loop.remove_reader(sock)
        if hasattr(values, "aclose"):
            await values.aclose()
    if has_left:
        raise ClientLeft
