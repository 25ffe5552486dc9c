"""A FastAPI application in uvicorn behind the gateway."""

import httpx

from claims import GUARD, check, equal
from harness import Scene, http_stream, lock_step, stream_name

CHUNKS = 6


def test_stream_is_in_lock_step_over_h1(scene: Scene) -> None:
    """HTTP/1.1: each chunk reaches the client before the backend produces the next, and the end comes after all."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)
    name = stream_name()
    with http_stream(f"{gateway.url}/stream/lockstep/{name}?chunks={CHUNKS}") as (response, read):
        equal(response.status_code, 200, "status")
        equal(response.headers.get("transfer-encoding"), "chunked", "Transfer-Encoding")
        lock_step(read, backend, name, CHUNKS)
        equal(read(1), b"", "after the last chunk")
    record = gateway.records()[0]
    equal(record["outcome"], "complete", "outcome in the access log")
    equal(record["responseTransferMode"], "STREAMED", "mode in the access log")


def test_stream_is_in_lock_step_over_h2(scene: Scene) -> None:
    """HTTP/2: each chunk reaches the client before the backend produces the next, and the end comes after all."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)
    name = stream_name()
    url = f"{gateway.url}/stream/lockstep/{name}?chunks={CHUNKS}"
    curl = scene.curl("--http2-prior-knowledge", url)
    lock_step(curl.stdout.exactly, backend, name, CHUNKS)
    equal(curl.stdout.rest(), b"", "after the last chunk")
    equal(curl.exit_code(), 0, "curl's exit code")


def test_many_streams_are_in_lock_step_at_once(scene: Scene) -> None:
    """Streams side by side don't wait for each other: eight over HTTP/1.1, eight over one HTTP/2 connection."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)

    def url(name: str) -> str:
        return f"{gateway.url}/stream/lockstep/{name}?chunks={CHUNKS}"

    names = [stream_name() for _ in range(16)]
    curls = [scene.curl(url(name)) for name in names[:8]]
    together = [part for name in names[8:] for part in ("--output", name, url(name))]
    parallel = scene.curl("--http2-prior-knowledge", "--parallel", "--parallel-immediate", *together)
    # In reverse, so that none of them can be served one after the other.
    for name in reversed(names):
        backend.wait("produced", name)
    for name, curl in reversed(list(zip(names, curls, strict=False))):
        lock_step(curl.stdout.exactly, backend, name, CHUNKS)
        equal(curl.exit_code(), 0, "curl's exit code")
    for name in names[8:]:
        backend.seen(name, times=CHUNKS)
    equal(parallel.exit_code(), 0, "exit code of the parallel curl")
    sizes = {(scene.directory / name).stat().st_size for name in names[8:]}
    equal(sizes, {CHUNKS * len(b"chunk 0000\n")}, "sizes of the parallel streams")


def test_buffered_is_one_body(scene: Scene) -> None:
    """BUFFERED: not even the head arrives before the backend has ended; then one body with its Content-Length."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)
    name = stream_name()
    curl = scene.curl("--dump-header", "-", f"{gateway.url}/buffered/lockstep/{name}?chunks=2")
    backend.wait("produced", name)
    check(curl.stdout.is_silent(), "something arrived before the end of a buffered answer")
    backend.seen(name, times=2)
    head = curl.stdout.until(b"\r\n\r\n").lower()
    check(b"content-length: 22\r\n" in head, f"no Content-Length of 22: {head!r}")
    check(b"transfer-encoding" not in head, f"a buffered answer with Transfer-Encoding: {head!r}")
    equal(curl.stdout.rest(), b"chunk 0000\nchunk 0001\n", "body")


def test_head_of_a_silent_stream_arrives(scene: Scene) -> None:
    """The head arrives while the backend hasn't sent a byte of the body yet, over HTTP/1.1 and HTTP/2."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)
    for version in ("--http1.1", "--http2-prior-knowledge"):
        name = stream_name()
        curl = scene.curl(version, "--dump-header", "-", f"{gateway.url}/stream/silent/{name}")
        head = curl.stdout.until(b"\r\n\r\n").lower()
        check(b" 200" in head.splitlines()[0], f"{version}: {head!r}")
        check(b"content-type: text/plain" in head, f"{version}: {head!r}")
        backend.seen(name)
        equal(curl.stdout.rest(), b"at last\n", f"{version}: body")


def test_leaving_a_silent_stream_reaches_the_backend(scene: Scene) -> None:
    """A client that leaves while the backend is silent is noticed: the backend sees the disconnect."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)
    for version in ("--http1.1", "--http2-prior-knowledge"):
        name = stream_name()
        curl = scene.curl(version, f"{gateway.url}/stream/lockstep/{name}?chunks=2")
        curl.stdout.exactly(1)
        curl.kill()
        backend.wait("left", name)
    outcomes = [record["outcome"] for record in gateway.records(2)]
    equal(outcomes, ["client_left"] * 2, "outcomes in the access log")


def test_trailing_words_of_a_burst(scene: Scene) -> None:
    """What a backend writes without pauses arrives whole, in both modes."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)
    for mode in ("stream", "buffered"):
        answer = httpx.get(f"{gateway.url}/{mode}/words", timeout=GUARD)
        equal(answer.text, "Hello World !", f"{mode}: body")
