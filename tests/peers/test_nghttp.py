"""nghttp, which shows the frames of an HTTP/2 response."""

import re

from apps import payload
from claims import check, equal
from harness import Scene


def frames(scene: Scene, url: str) -> list[tuple[str, str]]:
    """The frames of the response, each with what nghttp says about it."""
    said = scene.run("nghttp", "--verbose", "--no-dep", url).stdout.decode(errors="replace")
    (scene.directory / "nghttp.txt").write_text(said)
    return re.findall(r"recv (HEADERS|DATA|RST_STREAM) frame (.*?\n(?: {10}.*\n)*)", said)


def lengths_of(seen: list[tuple[str, str]]) -> list[int]:
    """The lengths of the DATA frames."""
    return [int(length) for kind, said in seen if kind == "DATA" for length in re.findall(r"length=(\d+)", said)]


def test_frames_of_a_stream(scene: Scene) -> None:
    """A stream is HEADERS, then DATA frame by DATA frame, and END_STREAM on the last frame only."""
    gateway = scene.gateway(scene.uvicorn().url)
    seen = frames(scene, f"{gateway.url}/stream/words?pause=0.3")
    kinds = [kind for kind, _ in seen]
    equal(kinds[0], "HEADERS", "first frame")
    equal(set(kinds[1:]), {"DATA"}, "other frames")
    lengths = lengths_of(seen)
    check(sum(length > 0 for length in lengths) >= 2, f"DATA frames of {lengths} bytes: not one after the other")
    equal(sum(lengths), len("Hello World !"), "bytes")
    ends = ["END_STREAM" in said for _, said in seen]
    equal(ends, [False] * (len(ends) - 1) + [True], "END_STREAM")


def test_frames_of_a_truncated_stream(scene: Scene) -> None:
    """What came before the backend broke off arrives, then RST_STREAM, and no END_STREAM."""
    gateway = scene.gateway(scene.uvicorn().url)
    seen = frames(scene, f"{gateway.url}/stream/truncated")
    kinds = [kind for kind, _ in seen]
    equal((kinds[0], kinds[-1]), ("HEADERS", "RST_STREAM"), "first and last frame")
    equal(sum(lengths_of(seen)), payload.BLOCK, "bytes that arrived before")
    check("INTERNAL_ERROR" in seen[-1][1], f"another code: {seen[-1][1]}")
    check(not any("END_STREAM" in said for _, said in seen), "a truncated stream with END_STREAM")
