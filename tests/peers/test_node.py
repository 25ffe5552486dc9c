"""Node's `http.request`."""

import json
import signal
from collections.abc import Iterator

from apps import payload
from claims import check, equal
from harness import PEERS, Process, Scene, stream_name

Event = dict[str, object]


def test_chunks_arrive_one_by_one(scene: Scene) -> None:
    """Each chunk is a `data` event before the backend has produced the next, and `end` comes after all."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)
    name = stream_name()
    events = events_of(request(scene, f"{gateway.url}/stream/lockstep/{name}?chunks=5"))
    equal(next(events)["event"], "response", "first event")
    for number in range(5):
        equal(next(events), {"event": "data", "text": payload.chunk(number).decode()}, f"chunk {number}")
        backend.seen(name)
    equal([event["event"] for event in events], ["end", "close"], "last events")


def test_backend_that_dies_is_an_error(scene: Scene) -> None:
    """A backend that dies in mid-stream makes Node raise `aborted` and `error`, never `end`; chunked or not."""
    for more in ("", "&announced=55"):
        backend = scene.uvicorn()
        gateway = scene.gateway(backend.url)
        name = stream_name()
        events = events_of(request(scene, f"{gateway.url}/stream/lockstep/{name}?chunks=5{more}"))
        equal(next(events)["event"], "response", "first event")
        equal(next(events)["text"], payload.chunk(0).decode(), "first chunk")
        backend.process.signal(signal.SIGKILL)
        last = [event["event"] for event in events]
        check("end" not in last, f"a stream that was cut looks complete: {last}")
        equal(last, ["aborted", "error", "close"], "last events")
        equal(gateway.records()[0]["outcome"], "integration_truncated", "outcome in the access log")


def request(scene: Scene, url: str) -> Process:
    """Starts a request."""
    return scene.start("node", "node", str(PEERS / "apps" / "client.mjs"), url)


def events_of(node: Process) -> Iterator[Event]:
    """What the client tells, up to its end."""
    while line := node.stdout.line():
        yield json.loads(line)
    equal(node.exit_code(), 0, "node's exit code")
