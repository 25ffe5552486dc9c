"""SIGTERM."""

import signal

import httpx

from claims import equal, eventually
from harness import Scene, http_stream, is_listening, lock_step, stream_name

CHUNKS = 4


def test_open_streams_finish(scene: Scene) -> None:
    """After SIGTERM new connections are refused, open streams go on to their end, and then the gateway exits with 0."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url, shutdown={"preStopDelayInMillis": 0})
    one, two = stream_name(), stream_name()

    def url(name: str) -> str:
        return f"{gateway.url}/stream/lockstep/{name}?chunks={CHUNKS}"

    curl = scene.curl("--http2-prior-knowledge", url(two))
    with http_stream(url(one)) as (_, read):
        lock_step(read, backend, one, 1)
        lock_step(curl.stdout.exactly, backend, two, 1)
        gateway.process.signal(signal.SIGTERM)
        eventually("new connections are refused", lambda: not is_listening(gateway.port))
        lock_step(read, backend, one, CHUNKS, first=1)
        equal(read(1), b"", "HTTP/1.1: after the last chunk")
        lock_step(curl.stdout.exactly, backend, two, CHUNKS, first=1)
    equal((curl.stdout.rest(), curl.exit_code()), (b"", 0), "HTTP/2: after the last chunk, and curl's exit code")
    equal(gateway.process.exit_code(), 0, "the gateway's exit code")
    outcomes = [record["outcome"] for record in gateway.records(2)]
    equal(outcomes, ["complete"] * 2, "outcomes in the access log")


def test_idle_connections_do_not_hold_it(scene: Scene) -> None:
    """Connections that are idle don't keep the gateway from stopping."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url, shutdown={"preStopDelayInMillis": 0})
    with httpx.Client() as client:
        equal(client.get(f"{gateway.url}/stream/ready").text, "ready", "body")
        gateway.process.signal(signal.SIGTERM)
        equal(gateway.process.exit_code(), 0, "the gateway's exit code")
