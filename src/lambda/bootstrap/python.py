"""Runs a Python function in an execution environment: takes invocations from the Lambda Runtime API, calls the handler
and brings back its result, its stream or its error. Needs Python 3.9 and nothing else.

Environment: AWS_LAMBDA_RUNTIME_API (host:port), _HANDLER (`src/app.handler`), LAMBDA_TASK_ROOT. Handlers are found and
called as by AWS's own runtime. Beyond it, a handler may be `async`, and it streams when it is, or returns, a generator,
an asynchronous generator or another iterator: each `str` or `bytes` leaves at once. If the first value is a `dict`, it
is the HTTP metadata: `{"statusCode": 200, "headers": {...}, "multiValueHeaders": {...}, "cookies": [...]}`.
"""

from __future__ import annotations

import asyncio
import collections.abc
import importlib
import inspect
import json
import logging
import os
import sys
import time
from typing import Any, Callable, Optional

from python_api import Fault, Invocation, RuntimeApi, error_report, log_report
from python_stream import ClientLeft, StreamedResponse, stream, stream_async

# A function may have modules of these names.
del sys.modules["python_api"], sys.modules["python_stream"]

RAISED = (Exception, asyncio.CancelledError)
"""What a handler may raise. SystemExit ends the process."""

Handler = Callable[[Any, "LambdaContext"], Any]


# --- the handler


class Plain:
    """Attributes, absent ones being None."""

    def __init__(self, names: tuple[str, ...], values: dict[str, Any]) -> None:
        for name in names:
            setattr(self, name, values.get(name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"


class LambdaContext(Plain):
    """What a handler is told of its invocation and its function."""

    def __init__(self, headers: Any) -> None:
        environment = os.environ.get
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.log_group_name = environment("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = environment("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = environment("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = environment("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = environment("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.tenant_id = headers["Lambda-Runtime-Aws-Tenant-Id"]
        self.client_context = client_context(parsed(headers, "Lambda-Runtime-Client-Context"))
        cognito = parsed(headers, "Lambda-Runtime-Cognito-Identity") or {}
        identity = {"cognito_identity_id": cognito.get("cognitoIdentityId")}
        identity["cognito_identity_pool_id"] = cognito.get("cognitoIdentityPoolId")
        self.identity = Plain(tuple(identity), identity)
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"] or 0)

    def get_remaining_time_in_millis(self) -> int:
        """How long the handler may still take."""
        return max(0, self._deadline - int(time.time() * 1000))

    def log(self, message: Any) -> None:
        """Writes to the function's log."""
        sys.stdout.write(str(message))


def parsed(headers: Any, name: str) -> Any:
    """A header that holds JSON."""
    try:
        return json.loads(headers[name]) if headers[name] else None
    except ValueError as error:
        raise Fault("LambdaContextUnmarshalError", f"Unable to parse {name} JSON: {error}") from None


def client_context(values: Optional[dict[str, Any]]) -> Optional[Plain]:
    """What a mobile client says of itself."""
    if values is None:
        return None
    names = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")
    client = values.get("client") and Plain(names, values["client"])
    return Plain(("custom", "env", "client"), {**values, "client": client})


def load_handler(name: str) -> Handler:
    """The function that `folder/module.function` names."""
    module_name, dot, member = name.rpartition(".")
    if not dot:
        raise Fault("MalformedHandlerName", f"Bad handler '{name}': it is written as file.function")
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault("BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("ImportModuleError", f"Unable to import module '{module_name}': {error}") from None
    except SyntaxError as error:
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise Fault("UserCodeSyntaxError", f"Syntax error in module '{module_name}': {error}", [place]) from None
    handler: Optional[Handler] = getattr(module, member, None)
    if handler is None:
        raise Fault("HandlerNotFound", f"Handler '{member}' missing on module '{module_name}'")
    if not callable(handler):
        raise Fault("HandlerNotFound", f"Handler '{member}' of module '{module_name}' is not a function")
    return handler


# --- invocations


class Runtime:
    """Runs one handler, one invocation after the other."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.loop: Optional[asyncio.AbstractEventLoop] = None

    def wait_for(self, awaitable: Any) -> Any:
        """Runs something asynchronous, always on the same loop: clients that a function keeps are bound to it."""
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(awaitable)

    def run(self, invocation: Invocation) -> None:
        """Calls the handler and brings back what it makes."""
        response = StreamedResponse(invocation)
        try:
            result = self.handler(invocation.event(), LambdaContext(invocation.headers))
            if inspect.isawaitable(result):
                result = self.wait_for(result)
            if self.streams(result, response):
                response.end()
            else:
                invocation.succeed(result)
        except ClientLeft:
            response.take_answer(is_whole=False)
        except RAISED as error:
            if response.has_begun:
                response.end(error)
            else:
                invocation.fail(error)

    def streams(self, result: Any, response: StreamedResponse) -> bool:
        """Streams a result that comes bit by bit."""
        if isinstance(result, collections.abc.AsyncIterable):
            self.wait_for(stream_async(result, response))
        elif isinstance(result, collections.abc.Iterator):
            stream(result, response)
        else:
            return False
        return True


class RequestId(logging.Filter):
    """Lends log records the id of the invocation."""

    current = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.current
        return True


def set_up_logging() -> None:
    """Gives `logging` the handler that it has on AWS, and lets every line out at once."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    line = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
    formatter = logging.Formatter(line, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    handler.addFilter(RequestId())
    logging.getLogger().addHandler(handler)


def main() -> None:
    """Loads the handler, and serves invocations until the Runtime API is gone."""
    set_up_logging()
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    sys.path[0] = os.path.abspath(os.environ.get("LAMBDA_TASK_ROOT") or ".")  # instead of this file's folder
    try:
        runtime = Runtime(load_handler(os.environ.get("_HANDLER", "")))
    except Exception as error:
        report = error_report(error)
        log_report(report)
        api.post_error("init/error", report)
        sys.exit(1)
    while True:
        invocation = api.next()
        RequestId.current = invocation.request_id
        trace = invocation.headers["Lambda-Runtime-Trace-Id"]
        if trace:
            os.environ["_X_AMZN_TRACE_ID"] = trace
        else:
            os.environ.pop("_X_AMZN_TRACE_ID", None)
        runtime.run(invocation)


if __name__ == "__main__":
    main()
