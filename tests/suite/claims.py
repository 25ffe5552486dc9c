"""What tests say of the programs they run: claims, some of which may take a while to hold.

Steps wait for `GUARD` at most. It is generous: no test measures time, a step that takes this long is a deadlock.
"""

import time
from collections.abc import Callable

GUARD = 5.0


class Failed(Exception):
    """What a test expected didn't happen."""


def check(condition: object, claim: str) -> None:
    """Fails the test unless the claim holds."""
    if not condition:
        raise Failed(claim)


def equal(actual: object, expected: object, what: str) -> None:
    """Fails the test unless both are the same."""
    check(actual == expected, f"{what}: got {actual!r}, expected {expected!r}")


def eventually(claim: str, holds: Callable[[], object], guard: float = GUARD) -> None:
    """Waits until the claim holds."""
    until = time.monotonic() + guard
    while not holds():
        check(time.monotonic() < until, f"still not so after {guard:g} s: {claim}")
        time.sleep(0.02)


def stalled(value: Callable[[], int]) -> int:
    """A counter's value once it has stood still for a while."""
    last, since = -1, time.monotonic()
    until = since + GUARD
    while time.monotonic() - since < 0.5:
        if time.monotonic() > until:
            raise Failed(f"still counting after {GUARD:g} s, at {last}")
        if (now := value()) != last:
            last, since = now, time.monotonic()
        time.sleep(0.02)
    return last
