"""Many streams at once, and many invocations that end in every way there is: nothing grows, nothing is left."""

import asyncio
import contextlib
import os
import random
import re
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

from apps import payload
from claims import GUARD, Failed, check, equal, eventually
from harness import Gateway, Process, Scene
from stage import CHUNKS, Steps, end, node, processes, serve
from test_runtimes import rust

ENVIRONMENTS = 50
STREAMS_EACH = 10
WARM_ROUNDS = 2
ROUNDS = 2
BLOCKS = 8
"""Of 64 KiB each, that a stream gives without waiting."""
GROWTH = 60 * 1024
"""KiB that further rounds may add to the gateway's memory, once some have warmed it."""
INVOCATIONS = int(os.environ.get("LAMBDA_INVOCATIONS", "1000"))
AT_ONCE = 16


def resident(process: Process) -> int:
    """KiB of memory that the process has."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def descriptors(process: Process) -> Counter[str]:
    """How many descriptors of each kind are open in the process."""
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            kinds[re.sub(r":\[\d+\]", "", os.readlink(entry))] += 1
    return kinds


def settled(process: Process, expected: Counter[str]) -> None:
    """Waits until no other descriptors are open than these."""
    try:
        eventually("descriptors are as before", lambda: not descriptors(process) - expected, guard=15)
    except Failed as failed:
        raise Failed(f"{failed}; there are more: {descriptors(process) - expected}") from None


class Stream:
    """A request on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def get(cls, gateway: Gateway, target: str) -> "Stream":
        """Sends it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return cls(reader, writer)

    async def until(self, mark: bytes) -> None:
        """Reads up to the mark."""
        await guarded(self.reader.readuntil(mark), f"reading up to {mark!r}")

    async def rest(self) -> bytes:
        """Reads up to the end, whatever it is."""
        try:
            return await guarded(self.reader.read(), "reading up to the end")
        except ConnectionError:
            return b""
        finally:
            self.leave()

    def leave(self) -> None:
        """Closes the connection."""
        self.writer.close()


async def guarded(step: Awaitable[bytes], what: str) -> bytes:
    """Waits for a step, but not forever."""
    try:
        return await asyncio.wait_for(step, 6 * GUARD)
    except TimeoutError:
        raise TimeoutError(f"still {what} after {6 * GUARD:g} s") from None


async def all_at_once(scene: Scene, gateway: Gateway) -> int:
    """All streams are open together: none gets its next chunk before each of them has had the last.

    Then each gives half a megabyte more, which nobody reads until it has piled up; there the gateway's memory is
    measured.
    """
    steps = Steps(scene)
    target = f"/stream/http?steps={steps}&blocks={BLOCKS}"
    streams = [await Stream.get(gateway, target) for _ in range(ENVIRONMENTS * STREAMS_EACH)]
    for number in range(CHUNKS):
        await asyncio.gather(*(stream.until(payload.chunk(number)) for stream in streams))
        steps.seen(number)
    size, last = resident(gateway.process), 0
    while size > last:
        await asyncio.sleep(0.5)
        size, last = resident(gateway.process), size
    for answer in await asyncio.gather(*(stream.rest() for stream in streams)):
        check(answer.count(b"x") == BLOCKS * 65536 and answer.endswith(b"0\r\n\r\n"), "a stream isn't whole")
    return size


def test_many_streams_stay_flat_in_memory(scene: Scene) -> None:
    """500 streams at once from 50 environments, again and again, add less than 60 MB to the gateway's memory."""
    limits = {"concurrency": ENVIRONMENTS, "perExecutionEnvironmentMaxConcurrency": STREAMS_EACH}
    gateway = serve(scene, {"http": rust(scene, "http", **limits)})
    sizes = []
    for _ in range(WARM_ROUNDS + ROUNDS):
        sizes.append(asyncio.run(all_at_once(scene, gateway)))
    print(f"    KiB resident with 500 streams: {sizes}")
    equal(len(processes(scene)), ENVIRONMENTS, "environments")
    check(max(sizes[WARM_ROUNDS:]) - sizes[WARM_ROUNDS - 1] < GROWTH, f"memory grows: {sizes} KiB")
    end(scene, gateway)


KINDS = ["streamed"] * 8 + ["breaks", "fails", "leaves early", "leaves at once", "endless", "dies", "exits"]


async def mixed(gateway: Gateway, kind: str, seen: Steps) -> None:
    """One invocation that goes as its kind says."""
    asked = kind if kind in ("streamed", "breaks", "fails", "dies", "exits") else "endless"
    stream = await Stream.get(gateway, f"/stream/mixed?kind={asked}&steps={seen}")
    if kind == "leaves at once":
        stream.leave()
    elif asked == "endless":
        await stream.until(b"the beginning\n")
        stream.leave()
    else:
        answer = await stream.rest()
        whole = answer.endswith(b"0\r\n\r\n")
        check(whole == (kind == "streamed") or kind in ("fails", "exits"), f"{kind}: {answer!r}")


async def many(gateway: Gateway, kinds: list[str], seen: Steps) -> None:
    """All invocations, some at once."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(kind: str) -> None:
        async with turns:
            await mixed(gateway, kind, seen)

    await asyncio.gather(*(one(kind) for kind in kinds))


def test_nothing_is_left_of_many_invocations(scene: Scene) -> None:
    """1,000 invocations with crashes, kills and cancels: processes and descriptors are back where they were."""
    gateway = serve(scene, {"mixed": node(scene, "mixed", concurrency=6, idleTimeout=1)})
    seen = Steps(scene).all_seen()
    asyncio.run(many(gateway, ["streamed"] * 20, seen))
    eventually("idle environments have ended", lambda: not processes(scene), guard=15)
    eventually("their descriptors are closed", lambda: not descriptors(gateway.process)["anon_inode:[pidfd]"])
    before = descriptors(gateway.process)
    kinds = (KINDS * (INVOCATIONS // len(KINDS) + 1))[:INVOCATIONS]
    random.Random(3).shuffle(kinds)
    asyncio.run(many(gateway, kinds, seen))
    equal(len(gateway.records(INVOCATIONS + 20)), INVOCATIONS + 20, "records")
    eventually("all environments have ended", lambda: not processes(scene), guard=15)
    settled(gateway.process, before)
    end(scene, gateway)
