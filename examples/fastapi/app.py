"""Four ways to stream from FastAPI. Nothing in here knows of the gateway."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/hello")
async def hello() -> StreamingResponse:
    """Text, word by word."""

    async def words() -> AsyncIterator[str]:
        for word in ("Hello ", "World ", "!"):
            yield word
            await asyncio.sleep(1)

    return StreamingResponse(words(), media_type="text/plain")


@app.get("/chat")
async def chat(prompt: str = "streams") -> StreamingResponse:
    """Server-sent events, as the APIs of language models send their tokens."""

    async def events() -> AsyncIterator[str]:
        try:
            for token in f"You asked about {prompt} . Here is what I think .".split():
                yield f"data: {json.dumps({'token': token})}\n\n"
                await asyncio.sleep(0.2)
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            # The client has left, and the gateway has told us by closing its connection: time to stop the model.
            print(f"nobody listens any more, stopping the answer about {prompt}", flush=True)
            raise

    # `no-cache` keeps other caches on the way from holding events back.
    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


@app.get("/rows")
async def rows(count: int = 5) -> StreamingResponse:
    """NDJSON: one JSON document in each line."""

    async def lines() -> AsyncIterator[str]:
        for number in range(count):
            yield json.dumps({"row": number, "square": number * number}) + "\n"
            await asyncio.sleep(0.3)

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@app.get("/download")
def download(mebibytes: int = 16) -> StreamingResponse:
    """A large file. A plain generator does, too; FastAPI runs it in a thread."""
    block = bytes(range(256)) * 4096  # 1 MiB

    def blocks() -> Iterator[bytes]:
        for _ in range(mebibytes):
            yield block

    # With a length, clients can show progress. A stream that ends short of it counts as broken.
    headers = {
        "Content-Length": str(mebibytes * len(block)),
        "Content-Disposition": 'attachment; filename="large.bin"',
    }
    return StreamingResponse(blocks(), media_type="application/octet-stream", headers=headers)
