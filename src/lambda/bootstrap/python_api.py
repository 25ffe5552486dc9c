"""What a Python function's runtime says to the Lambda Runtime API, and the errors that it tells.

Plain HTTP/1.1 to AWS_LAMBDA_RUNTIME_API (host:port), on one connection that is kept.
"""

from __future__ import annotations

import base64
import decimal
import http.client
import json
import os
import sys
import traceback
import urllib.parse
from typing import Any, Optional

PREFIX = "/2018-06-01/runtime/"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"
MOST_TRAILER_BYTES = 16 * 1024  # a trailer is a header, and no peer takes endless headers
OWN_FOLDER = os.path.dirname(os.path.abspath(__file__))


def log(text: str) -> None:
    """Tells the reader of the function's log."""
    print(text, file=sys.stderr, flush=True)


# --- errors, in the words of AWS's runtime


class Fault(Exception):
    """An error of the function's making that the runtime names."""

    def __init__(self, kind: str, message: str, trace: Optional[list[str]] = None) -> None:
        super().__init__(message)
        self.kind = f"Runtime.{kind}"
        self.trace = trace or []


def error_report(error: BaseException, request_id: str = "") -> dict[str, Any]:
    """What the Runtime API is told of an exception: without the runtime's own frames."""
    if isinstance(error, Fault):
        kind, trace = error.kind, error.trace
    else:
        own = (OWN_FOLDER + os.sep, "<frozen importlib")
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(own)]
        kind, trace = type(error).__name__, traceback.format_list(frames)
    return {"errorMessage": str(error), "errorType": kind, "requestId": request_id, "stackTrace": trace}


def log_report(report: dict[str, Any]) -> None:
    """Shows the function's author what went wrong, and where."""
    trace = ["Traceback (most recent call last):\n", *report["stackTrace"]] if report["stackTrace"] else []
    log(f"[ERROR] {report['errorType']}: {report['errorMessage']}\n{''.join(trace)}".rstrip())


def header_safe(text: str) -> str:
    """A header's value can't hold everything that a name of an error can."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)[:256]


def error_trailers(report: dict[str, Any]) -> bytes:
    """The lines after the last chunk that make a broken stream known as one."""
    body = base64.b64encode(json.dumps(report).encode())
    if len(body) > MOST_TRAILER_BYTES:
        message = report["errorMessage"][: MOST_TRAILER_BYTES // 16]
        body = base64.b64encode(json.dumps({**report, "errorMessage": message, "stackTrace": []}).encode())
    return f"{ERROR_TYPE}: {header_safe(report['errorType'])}\r\n{ERROR_BODY}: {body.decode()}\r\n".encode()


# --- the Runtime API


class RuntimeApi:
    """A kept connection to the Runtime API."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address)

    def exchange(self, method: str, target: str, headers: dict[str, str], body: Optional[bytes] = None) -> Any:
        """One exchange whose body is known: the response, and its body."""
        is_kept = self.connection.sock is not None
        try:
            self.connection.request(method, PREFIX + target, body, headers)
            response = self.connection.getresponse()
            return response, response.read()
        except (ConnectionError, http.client.BadStatusLine):
            self.connection.close()
            if not is_kept:
                raise
        return self.exchange(method, target, headers, body)  # a kept one may have been closed meanwhile

    def next(self) -> Invocation:
        """Waits for an invocation."""
        response, body = self.exchange("GET", "invocation/next", {})
        if response.status != 200:
            sys.exit(f"the Runtime API answered {response.status} to invocation/next: {body[:500]!r}")
        return Invocation(self, response.headers, body)

    def post(self, target: str, body: bytes, headers: dict[str, str]) -> None:
        """Posts a result or an error."""
        response, answer = self.exchange("POST", target, {"Content-Type": "application/json", **headers}, body)
        judge(response.status, answer, target)

    def post_error(self, target: str, report: dict[str, Any], headers: Optional[dict[str, str]] = None) -> None:
        """Tells an error, before any response."""
        kind = {ERROR_TYPE: header_safe(report["errorType"])}
        self.post(target, json.dumps(report).encode(), {**kind, **(headers or {})})


def judge(status: int, answer: bytes, target: str) -> None:
    """Says what was refused. 4xx concerns one invocation (410: it came too late); 5xx ends the environment."""
    if status >= 300:
        log(f"the Runtime API answered {status} to {target}: {answer[:500].decode(errors='replace')}")
    if status >= 500:
        sys.exit(1)


class Invocation:
    """One invocation, as /next told of it."""

    def __init__(self, api: RuntimeApi, headers: Any, body: bytes) -> None:
        self.api = api
        self.headers = headers
        self.body = body
        self.request_id: str = headers["Lambda-Runtime-Aws-Request-Id"]
        self.target = f"invocation/{urllib.parse.quote(self.request_id, safe='')}"
        nonce = headers["Lambda-Runtime-Invocation-Id"]
        self.echoed = {"Lambda-Runtime-Invocation-Id": nonce} if nonce else {}

    def event(self) -> Any:
        """What the handler is called with."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Fault("UnmarshalError", f"Unable to unmarshal input: {error}") from None

    def succeed(self, result: Any) -> None:
        """Answers with a result."""
        if isinstance(result, bytes):
            self.api.post(f"{self.target}/response", result, {**self.echoed, "Content-Type": "application/unknown"})
        else:
            self.api.post(f"{self.target}/response", marshalled(result), self.echoed)

    def fail(self, error: BaseException) -> None:
        """Answers with an error."""
        report = error_report(error, self.request_id)
        log_report(report)
        self.api.post_error(f"{self.target}/error", report, self.echoed)


def marshalled(result: Any) -> bytes:
    """A result as JSON."""

    def plain(value: Any) -> Any:
        if not isinstance(value, decimal.Decimal):
            raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)

    try:
        return json.dumps(result, default=plain, ensure_ascii=False).encode()
    except Exception as error:
        raise Fault("MarshalError", f"Unable to marshal response: {error}") from None
