"""A FastAPI application with streams that go on only when they are told to.

`/seen/...` and `/wait/...` are the side channel: tests call them on the application itself, past the gateway.
"""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

import payload

app = FastAPI()


class Progress:
    """What is known of one stream by name."""

    def __init__(self) -> None:
        self.seen = asyncio.Semaphore(0)
        """One permit for each thing the client has seen."""
        self.produced = asyncio.Event()
        """The first chunk was handed to the server."""
        self.left = asyncio.Event()
        """The stream was broken off before its end."""


streams: defaultdict[str, Progress] = defaultdict(Progress)


@contextmanager
def noticing(name: str) -> Iterator[None]:
    """Notes it if the stream is broken off."""
    try:
        yield
    except BaseException:
        streams[name].left.set()
        raise


def length(announced: int | None) -> dict[str, str]:
    """The field that announces a length, or none."""
    return {} if announced is None else {"Content-Length": str(announced)}


@app.post("/seen/{name}")
async def seen(name: str, times: int = 1) -> None:
    """The client has seen another chunk (or the head)."""
    for _ in range(times):
        streams[name].seen.release()


@app.get("/wait/{what}/{name}")
async def wait(what: str, name: str) -> None:
    """Answers once the stream has `produced` its first chunk, or was `left`."""
    await getattr(streams[name], what).wait()


@app.get("/lockstep/{name}")
async def lockstep(name: str, chunks: int, announced: int | None = None) -> StreamingResponse:
    """Chunk n+1, and the end, are only produced after the client has seen chunk n."""

    async def body() -> AsyncIterator[bytes]:
        with noticing(name):
            for number in range(chunks):
                yield payload.chunk(number)
                streams[name].produced.set()
                await streams[name].seen.acquire()

    return StreamingResponse(body(), headers=length(announced), media_type="text/plain")


@app.get("/silent/{name}")
async def silent(name: str) -> StreamingResponse:
    """The head at once; the body only after the client has seen the head."""

    async def body() -> AsyncIterator[bytes]:
        await streams[name].seen.acquire()
        yield b"at last\n"

    return StreamingResponse(body(), media_type="text/plain")


@app.get("/words")
async def words(pause: float = 0) -> StreamingResponse:
    """Three words, `pause` seconds apart."""

    async def body() -> AsyncIterator[str]:
        for word in ("Hello ", "World ", "!"):
            yield word
            await asyncio.sleep(pause)

    return StreamingResponse(body(), media_type="text/plain")


@app.get("/download")
def download(size: int) -> StreamingResponse:
    """So many bytes, of unknown length."""
    return StreamingResponse(payload.blocks(size), media_type="application/octet-stream")


@app.get("/truncated")
def truncated(announced: int | None = None) -> StreamingResponse:
    """Breaks off after some 64 KiB: chunked, or short of the length it announced."""

    def body() -> Iterator[bytes]:
        yield from payload.blocks(payload.BLOCK)
        raise RuntimeError("breaking off, as asked")

    return StreamingResponse(body(), headers=length(announced), media_type="application/octet-stream")


@app.post("/hash")
async def hash_upload(request: Request) -> JSONResponse:
    """What arrived of an upload."""
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return JSONResponse({"sha256": digest.hexdigest(), "bytes": size})


@app.get("/headers")
async def headers(request: Request) -> JSONResponse:
    """The request's header fields as they arrived."""
    return JSONResponse(dict(request.headers))


@app.get("/ready")
async def ready() -> PlainTextResponse:
    """The application is up."""
    return PlainTextResponse("ready")


@app.post("/v1/chat/completions")
async def chat(request: Request) -> StreamingResponse:
    """OpenAI's streamed chat completion: one event a word, each only after the client has seen the one before.

    The words are those of the last message; the stream's name is the model's.
    """
    asked = await request.json()
    name, text = asked["model"], asked["messages"][-1]["content"]

    def event(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {"id": name, "object": "chat.completion.chunk", "created": 0, "model": name, "choices": [choice]}
        return f"data: {json.dumps(chunk)}\n\n"

    async def body() -> AsyncIterator[str]:
        with noticing(name):
            for word in text.split():
                yield event({"role": "assistant", "content": word + " "})
                await streams[name].seen.acquire()
            yield event({}, finish="stop")
            yield "data: [DONE]\n\n"

    return StreamingResponse(body(), media_type="text/event-stream")
