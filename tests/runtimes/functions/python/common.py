"""What both runtimes do alike; `common.mjs` has the same handlers."""

import os
import time

from gate import note, seen


def echo(event, context):
    return event


def nothing(event, context):
    pass


def fails(event, context):
    raise TypeError("no such thing: ünïcode")


def context(event, context):
    return {
        "id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "name": context.function_name,
        "version": context.function_version,
        "memory": context.memory_limit_in_mb,
        "group": context.log_group_name,
        "stream": context.log_stream_name,
        "remaining": context.get_remaining_time_in_millis(),
        "client": context.client_context and context.client_context.client.app_title,
        "identity": context.identity.cognito_identity_id,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
    }


def lockstep(event, context):
    for number in range(4):
        yield f"chunk {number};"
        seen(number)


def metadata(event, context):
    yield {"statusCode": 201, "headers": {"X-A": "b"}, "cookies": ["c=d"]}
    yield event["first"]
    seen(0)


def breaks(event, context):
    yield "so far"
    seen(0)
    raise IndexError("x" * 100_000 if event and event.get("huge") else "out of range")


def breaksFirst(event, context):
    raise IndexError("before anything")
    yield


def endless(event, context):
    try:
        yield "first"
        seen("go")
        while True:
            yield "more"
            time.sleep(0.005)
    except GeneratorExit:
        note("left")
        raise


def empty(event, context):
    yield from ()


def mixed(event, context):
    if event["fails"]:
        raise Exception("asked to")
    for _ in range(8):
        yield "x" * 1000


def waits(event, context):
    seen("go")
    yield from ()
