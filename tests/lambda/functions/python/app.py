"""Functions as their authors write them, for Lambda's own Python runtime and for the gateway's."""

import json
import os
import signal
import time


def _seen(steps: str, number: int) -> None:
    """Waits until somebody has said that a chunk was seen, by a file."""
    while not os.path.exists(f"{steps}/{number}"):
        time.sleep(0.005)


def buffered(event, context):
    """Gives the event back."""
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"event": event, "requestId": context.aws_request_id}),
    }


def fails(event, context):
    """Fails."""
    raise ValueError("not like this")


def streamed(event, context):
    """Streams in lock-step; only the gateway's runtime can."""
    steps = (event.get("queryStringParameters") or event)["steps"]
    yield {"statusCode": 201, "headers": {"Content-Type": "text/plain", "X-Own": "yes"}}
    for number in range(4):
        if number > 0:
            _seen(steps, number - 1)
        yield f"chunk {number:04}\n"


def breaks(event, context):
    """Fails in mid-stream."""
    yield {"statusCode": 200}
    yield "the beginning\n"
    time.sleep(0.1)
    raise RuntimeError("broke here")


def dies(event, context):
    """Is killed in mid-stream."""
    yield {"statusCode": 200}
    yield "the beginning\n"
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
