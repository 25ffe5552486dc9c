"""Lambda's Invoke API, called by boto3, the AWS CLI and AWS's SDK for JavaScript."""

import base64
import json
from collections.abc import Callable
from typing import Any

import botocore.exceptions

from apps import payload
from claims import Failed, check, equal, eventually
from harness import VENV, Scene
from stage import CHUNKS, DELIMITER, HOME, KEYS, TARGET, Events, Steps, node, processes, sdk, serve


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    """Status and code of the exception that a call raises."""
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    raise Failed("the call wasn't refused")


def test_invocation_types(scene: Scene) -> None:
    """boto3: RequestResponse is 200 with the result, Event 202 and runs on, DryRun 204 and runs nothing."""
    functions = {"echo": node(scene, "echo"), "marks": node(scene, "marks"), "dry": node(scene, "marks")}
    client = sdk(serve(scene, functions))
    answer = client.invoke(FunctionName="echo", Payload=b'{"a": 1}')
    equal((answer["StatusCode"], answer["ExecutedVersion"]), (200, "$LATEST"), "RequestResponse")
    equal(json.load(answer["Payload"]), {"a": 1}, "result")
    steps, dry = Steps(scene), Steps(scene)
    event = json.dumps({"steps": str(steps)})
    answer = client.invoke(FunctionName="marks", InvocationType="Event", Payload=event)
    equal((answer["StatusCode"], answer["Payload"].read()), (202, b""), "Event")
    eventually("the function has run", lambda: (steps.path / "mark").exists())
    # The file is there before its content.
    eventually("it has the event", lambda: (steps.path / "mark").read_text() == event.replace(" ", ""))
    running = len(processes(scene))
    answer = client.invoke(FunctionName="dry", InvocationType="DryRun", Payload=json.dumps({"steps": str(dry)}))
    equal(answer["StatusCode"], 204, "DryRun")
    equal(len(processes(scene)), running, "processes after a dry run")
    equal(list(dry.path.iterdir()), [], "what a dry run has left")


def test_log_and_client_context(scene: Scene) -> None:
    """boto3: `LogType=Tail` brings the function's lines and its report, a stream's too; the client context arrives."""
    client = sdk(serve(scene, {"logs": node(scene, "logs"), "streamed": node(scene, "streamed")}))
    context = base64.b64encode(b'{"custom": {"a": "b"}}').decode()
    answer = client.invoke(FunctionName="logs", LogType="Tail", ClientContext=context, Payload=b'{"name": "x"}')
    log = base64.b64decode(answer["LogResult"]).decode()
    request_id = answer["ResponseMetadata"]["RequestId"]
    for part in (f"START RequestId: {request_id}", "here I am: x", f"REPORT RequestId: {request_id}"):
        check(part in log, f"no {part!r} in the log: {log}")
    equal(json.load(answer["Payload"])["custom"], {"a": "b"}, "client context")
    event = json.dumps({"steps": str(Steps(scene).all_seen())})
    events = Events(client.invoke_with_response_stream(FunctionName="streamed", LogType="Tail", Payload=event))
    events.rest()
    log = base64.b64decode((events.complete or {})["LogResult"]).decode()
    check("REPORT RequestId: " in log, f"no report in the log of a stream: {log}")


def test_streams_in_lock_step(scene: Scene) -> None:
    """boto3: raw streams and those with metadata are read as they are written, by function name and by ARN."""
    client = sdk(serve(scene, {"piped": node(scene, "piped")}))
    for name in ("piped", "arn:aws:lambda:us-east-1:123456789012:function:piped"):
        steps = Steps(scene)
        answer = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps({"steps": str(steps)}))
        equal(answer["ResponseStreamContentType"], "application/vnd.amazon.eventstream", "content type")
        events = Events(answer)
        steps.follow(events.read)
        equal((events.read(1), events.complete), (b"", {}), "the end")


def test_callers_that_leave(scene: Scene) -> None:
    """boto3: a local function whose caller closes the event stream sees its own closed."""
    client = sdk(serve(scene, {"endless": node(scene, "endless")}))
    for _ in range(2):
        steps = Steps(scene)
        event = json.dumps({"steps": str(steps)})
        answer = client.invoke_with_response_stream(FunctionName="endless", Payload=event)
        equal(Events(answer).until(b"beginning\n").partition(DELIMITER)[2], b"the ", "first chunk")
        answer["EventStream"].close()
        eventually("the function has seen its stream closed", (steps.path / "closed").exists)


def test_function_errors(scene: Scene) -> None:
    """boto3: an exception, a timeout and a crash are 200 with FunctionError, or with ErrorCode in the last event."""
    functions = {
        "fails": node(scene, "fails"),
        "hangs": node(scene, "hangs", timeout=1),
        "dies": node(scene, "dies"),
    }
    client = sdk(serve(scene, functions))
    for name, kind in (("fails", "RangeError"), ("hangs", "Sandbox.Timedout"), ("dies", "Runtime.ExitError")):
        answer = client.invoke(FunctionName=name)
        equal((answer["StatusCode"], answer["FunctionError"]), (200, "Unhandled"), name)
        error = json.load(answer["Payload"])
        equal(error["errorType"], kind, f"{name}: errorType")
    events = Events(client.invoke_with_response_stream(FunctionName="fails"))
    events.rest()
    equal((events.complete or {}).get("ErrorCode"), "RangeError", "ErrorCode of a function that never streamed")
    events = Events(client.invoke_with_response_stream(FunctionName="hangs"))
    events.rest()
    equal((events.complete or {}).get("ErrorCode"), "Sandbox.Timedout", "ErrorCode of a timeout")


def test_refusals(scene: Scene) -> None:
    """boto3: what Lambda refuses is refused with its status and exception."""
    functions = {"echo": node(scene, "echo"), "hangs": node(scene, "hangs", reservedConcurrentExecutions=0)}
    client = sdk(serve(scene, functions))
    for call in (client.invoke, client.invoke_with_response_stream):
        for function, event, answer in (
            ("echo", b"{", (400, "InvalidRequestContentException")),
            ("nobody", b"{}", (404, "ResourceNotFoundException")),
            ("hangs", b"{}", (429, "TooManyRequestsException")),
            ("echo", b'"%s"' % (b"x" * 6 * 1024 * 1024), (413, "RequestEntityTooLargeException")),
        ):
            equal(refused(call, FunctionName=function, Payload=event), answer, f"{function} with {event[:9]!r}")


def test_names(scene: Scene) -> None:
    """boto3: a function is found by its name, its ARN, a part of it, and any qualifier."""
    client = sdk(serve(scene, {"echo": node(scene, "echo")}))
    arn = "arn:aws:lambda:us-east-1:123456789012:function:echo"
    for name in ("echo", "echo:live", arn, f"{arn}:live", "123456789012:function:echo"):
        equal(client.invoke(FunctionName=name, Payload=b"1")["Payload"].read(), b"1", name)
    equal(client.invoke(FunctionName="echo", Qualifier="live", Payload=b"1")["Payload"].read(), b"1", "a qualifier")


def test_command_line(scene: Scene) -> None:
    """The AWS CLI: `aws lambda invoke` writes the result, and tells of a function's error."""
    gateway = serve(scene, {"echo": node(scene, "echo"), "fails": node(scene, "fails")})
    command = [str(VENV / "bin" / "aws"), "--endpoint-url", gateway.url, "--output", "json", "lambda", "invoke"]
    for function, error in (("echo", None), ("fails", "Unhandled")):
        more = ["--function-name", function, "--payload", '{"a": 1}', "out.json"]
        told = scene.start("aws", *command, *more, **KEYS, AWS_DEFAULT_REGION="us-east-1")
        printed = told.stdout.rest()
        equal(told.exit_code(), 0, f"exit code: {told.log.read_text()}")
        equal(json.loads(printed).get("FunctionError"), error, "FunctionError")
        result = json.loads((scene.directory / "out.json").read_text())
        equal(result.get("a") if error is None else result["errorType"], 1 if error is None else "RangeError", function)


def test_javascript_in_lock_step(scene: Scene) -> None:
    """@aws-sdk/client-lambda: each chunk is an event before the function makes the next; then InvokeComplete."""
    gateway = serve(scene, {"node": node(scene, "streamed"), "breaks": node(scene, "breaks")})
    script, modules = str(HOME / "sdk.mjs"), str(TARGET / "npm" / "node_modules")
    steps = Steps(scene)
    client = scene.start("sdk", "node", script, modules, gateway.url, "node", json.dumps({"steps": str(steps)}))
    held = ""
    while DELIMITER.decode() not in held:
        held += json.loads(client.stdout.line())["chunk"]
    held = held.partition(DELIMITER.decode())[2]
    for number in range(CHUNKS):
        held = held or json.loads(client.stdout.line())["chunk"]
        equal(held, payload.chunk(number).decode(), f"chunk {number}")
        held = ""
        steps.seen(number)
    equal(json.loads(client.stdout.line()), {"complete": {}}, "last event")
    equal(client.exit_code(), 0, "exit code")
    client = scene.start("sdk", "node", script, modules, gateway.url, "breaks", "{}")
    events = [json.loads(line) for line in client.stdout.rest().splitlines()]
    equal(events[-1]["complete"]["ErrorCode"], "Error", "ErrorCode of a stream that breaks")
