"""Bodies that both ends can work out, so that what arrived can be compared with what was sent."""

import hashlib
import random
from collections.abc import Iterator

BLOCK = 64 * 1024


def chunk(number: int) -> bytes:
    """The chunk of this number in a lock-step stream."""
    return b"chunk %04d\n" % number


def blocks(size: int) -> Iterator[bytes]:
    """`size` bytes that don't compress, in blocks that differ: a lost, doubled or moved block changes the hash."""
    noise = random.Random(2107).randbytes(BLOCK)
    for start in range(0, size, BLOCK):
        block = start.to_bytes(8, "big") + noise[8:]
        yield block[: size - start]


def sha256_of(pieces: Iterator[bytes]) -> str:
    """The hash of the pieces in one."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
