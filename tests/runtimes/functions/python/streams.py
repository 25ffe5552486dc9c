"""What only Python's runtime can do."""

import asyncio
import decimal
import io
import logging
import sys

from gate import is_seen, note, seen


async def seen_async(name):
    while not is_seen(name):
        await asyncio.sleep(0.002)


async def asynchronous(event, context):
    for number in range(4):
        yield f"chunk {number};"
        await seen_async(number)


async def coroutine(event, context):
    await asyncio.sleep(0)
    return {"got": event}


async def coroutine_fails(event, context):
    await asyncio.sleep(0)
    raise KeyError("by coroutine")


def returns_generator(event, context):
    def generate():
        yield b"a"
        yield bytearray(b"b")
        yield memoryview(b"c")

    return generate()


async def coroutine_returns_async_generator(event, context):
    return asynchronous(event, context)


def returns_iterator(event, context):
    return iter([{"statusCode": 204}, "x", "", b"", "y"])


def returns_file(event, context):
    return io.BytesIO(b"one\ntwo\n")


class Source:
    """An asynchronous iterable that isn't a generator."""

    def __aiter__(self):
        self.left = 2
        return self

    async def __anext__(self):
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return "z"


def returns_async_iterable(event, context):
    return Source()


async def async_breaks(event, context):
    yield "so far"
    raise LookupError("by generator")


async def async_silence(event, context):
    try:
        yield "first"
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    finally:
        await asyncio.sleep(0)
        note("closed")


async def async_endless(event, context):
    background = asyncio.ensure_future(asyncio.sleep(0.1))
    background.add_done_callback(lambda _: note("background"))
    try:
        while True:
            yield "x" * 65536
    finally:
        note("closed")


def sync_flood(event, context):
    for made in range(event["count"]):
        note("made", str(made))
        yield b"x" * 65536


def stubborn(event, context):
    yield "first"
    seen("go")
    try:
        while True:
            yield "more"
    except GeneratorExit:
        note("closed")
        yield "never"


def wrong_second(event, context):
    yield {"statusCode": 200}
    yield {"not": "bytes"}


def wrong_first(event, context):
    yield 7


def empty_metadata(event, context):
    yield {}


def raw_bytes(event, context):
    return b"\x00\xff"


def decimals(event, context):
    return {"whole": decimal.Decimal("12"), "part": decimal.Decimal("1.5")}


def unserializable(event, context):
    return {"a": object()}


def logs(event, context):
    logging.getLogger().warning("be warned")
    print("printed")
    print("to stderr", file=sys.stderr)


def exits(event, context):
    sys.exit(7)


def exits_in_stream(event, context):
    yield "some"
    sys.exit(7)


loops = []


async def same_loop(event, context):
    loops.append(asyncio.get_running_loop())
    return len({id(loop) for loop in loops})


def uses_asyncio_run(event, context):
    async def work():
        return "ran"

    return asyncio.run(work())
