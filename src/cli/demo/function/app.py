"""The demo's function: each word leaves the moment it is yielded."""

import time

ANSWER = "Written by a Lambda function in Python , one word at a time , and passed on as it was written ."


def handler(event, context):
    yield {"statusCode": 200, "headers": {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}}
    for word in ANSWER.split(" "):
        yield f"data: {word}\n\n"
        time.sleep(0.12)
