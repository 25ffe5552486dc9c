"""nginx as the backend, and nginx in front of the gateway."""

import gzip
import hashlib
from pathlib import Path

import httpx

from apps import payload
from claims import GUARD, check, equal, eventually
from harness import Scene, http_stream, lock_step, stream_name

TEXT = "".join(f"line {number} of a text that compresses well\n" for number in range(2000)).encode()
LARGE = 9 * 1024 * 1024
MODES = ("stream", "buffered")


def site(scene: Scene) -> tuple[str, Path]:
    """Starts nginx with a few files and a log of its connections. Returns its URL and the log."""
    root, log = scene.directory / "site", scene.directory / "connections.log"
    root.mkdir()
    (root / "plain.txt").write_bytes(TEXT)
    (root / "static.txt").write_bytes(TEXT)
    (root / "static.txt.gz").write_bytes(gzip.compress(TEXT))
    (root / "large.bin").write_bytes(b"".join(payload.blocks(LARGE)))
    url = scene.nginx(
        f"root {root}; gzip_static on; gzip on; gzip_proxied any; access_log {log} connections;",
        "types { text/plain txt; } gzip_types text/plain; log_format connections '$connection';",
    )
    return url, log


def test_range_is_206(scene: Scene) -> None:
    """A Range request gets its part, and Content-Range says which."""
    gateway = scene.gateway(site(scene)[0])
    for mode in MODES:
        answer = httpx.get(
            f"{gateway.url}/{mode}/plain.txt", headers={"Range": "bytes=100-299", "Accept-Encoding": "identity"}
        )
        equal(answer.status_code, 206, f"{mode}: status")
        equal(answer.headers.get("content-range"), f"bytes 100-299/{len(TEXT)}", f"{mode}: Content-Range")
        equal(answer.content, TEXT[100:300], f"{mode}: body")


def test_compressed_bodies_pass_untouched(scene: Scene) -> None:
    """What nginx has compressed, ahead of time or as it goes, arrives byte for byte with its Content-Encoding."""
    url, _ = site(scene)
    gateway = scene.gateway(url)
    for name in ("static.txt", "plain.txt"):
        _, expected = raw(f"{url}/{name}")
        equal(gzip.decompress(expected), TEXT, f"{name}: as nginx sends it")
        for mode in MODES:
            head, body = raw(f"{gateway.url}/{mode}/{name}")
            equal(head.get("content-encoding"), "gzip", f"{mode} {name}: Content-Encoding")
            equal(head.get("vary"), httpx.head(f"{url}/{name}").headers.get("vary"), f"{mode} {name}: Vary")
            check(body == expected, f"{mode} {name}: the body was changed")


def raw(url: str) -> tuple[httpx.Headers, bytes]:
    """The head, and the body as it is on the wire but for its chunks."""
    with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}, timeout=GUARD) as response:
        return response.headers, b"".join(response.iter_raw())


def test_head_has_the_length_and_no_body(scene: Scene) -> None:
    """HEAD keeps the Content-Length of GET, has no body, and leaves the connection usable."""
    gateway = scene.gateway(site(scene)[0])
    with httpx.Client(timeout=GUARD, headers={"Accept-Encoding": "identity"}) as client:
        for mode in MODES:
            answer = client.head(f"{gateway.url}/{mode}/large.bin")
            equal(answer.status_code, 200, f"{mode}: status")
            equal(answer.headers.get("content-length"), str(LARGE), f"{mode}: Content-Length")
            equal(answer.content, b"", f"{mode}: body")
            equal(client.get(f"{gateway.url}/{mode}/plain.txt").content, TEXT, f"{mode}: the next answer")


def test_unchanged_is_304(scene: Scene) -> None:
    """If-None-Match with nginx's own ETag is a 304 without a body, and leaves the connection usable."""
    gateway = scene.gateway(site(scene)[0])
    with httpx.Client(timeout=GUARD, headers={"Accept-Encoding": "identity"}) as client:
        for mode in MODES:
            url = f"{gateway.url}/{mode}/plain.txt"
            tag = client.get(url).headers.get("etag")
            check(tag, f"{mode}: no ETag")
            answer = client.get(url, headers={"If-None-Match": tag})
            equal((answer.status_code, answer.content), (304, b""), f"{mode}: status and body")
            equal(answer.headers.get("etag"), tag, f"{mode}: ETag")
            equal(client.get(url).content, TEXT, f"{mode}: the next answer")


def test_large_file_is_intact(scene: Scene) -> None:
    """A large file arrives intact in both modes, over HTTP/1.1 and HTTP/2."""
    gateway = scene.gateway(site(scene)[0])
    expected = payload.sha256_of(payload.blocks(LARGE))
    for mode in MODES:
        for option in ("--http1.1", "--http2-prior-knowledge"):
            curl = scene.fetch(option, f"{gateway.url}/{mode}/large.bin")
            equal(curl.returncode, 0, f"{mode} {option}: curl's exit code")
            equal(hashlib.sha256(curl.stdout).hexdigest(), expected, f"{mode} {option}: sha256")


def test_connections_to_the_backend_are_reused(scene: Scene) -> None:
    """Many requests need few connections to the backend, even if each comes on a connection of its own."""
    url, log = site(scene)
    gateway = scene.gateway(url, workers=2)
    requests = 200
    with httpx.Client(timeout=GUARD, limits=httpx.Limits(max_keepalive_connections=0)) as client:
        for number in range(requests):
            mode = MODES[number % 2]
            equal(client.get(f"{gateway.url}/{mode}/plain.txt").status_code, 200, f"{mode}: status")
    # nginx writes its line when the client has had its answer already.
    eventually("nginx has logged every request", lambda: len(log.read_text().split()) >= requests)
    connections = log.read_text().split()
    equal(len(connections), requests, "requests that nginx saw")
    # One for each worker; a few more may have been closed in between.
    check(len(set(connections)) <= 6, f"{len(set(connections))} connections for {requests} requests")


def test_streams_flow_through_nginx_in_front(scene: Scene) -> None:
    """Behind nginx with `proxy_buffering off`, with HTTP/1.1 and nginx's default of 1.0, streams stay in lock-step."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)
    for version in ("proxy_http_version 1.1; proxy_set_header Connection '';", ""):
        front = scene.nginx(f"proxy_buffering off; location / {{ proxy_pass {gateway.url}; {version} }}")
        name = stream_name()
        with http_stream(f"{front}/stream/lockstep/{name}?chunks=5") as (response, read):
            equal(response.status_code, 200, "status")
            lock_step(read, backend, name, 5)
            equal(read(1), b"", "after the last chunk")


def test_truncation_shows_through_nginx_in_front(scene: Scene) -> None:
    """nginx sees that a stream was cut, and doesn't make it look complete to the client."""
    gateway = scene.gateway(scene.uvicorn().url)
    for version in ("proxy_http_version 1.1; proxy_set_header Connection '';", ""):
        front = scene.nginx(f"proxy_buffering off; location / {{ proxy_pass {gateway.url}; {version} }}")
        curl = scene.fetch("--http1.1", f"{front}/stream/truncated")
        said = curl.stderr.decode().strip()
        equal(curl.returncode, 18, f"curl's exit code with `{version}` ({said})")
