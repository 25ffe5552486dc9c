"""OpenAI's Python client, with its `base_url` at the gateway."""

from openai import OpenAI, Stream
from openai.types.chat import ChatCompletionChunk

from claims import GUARD, check, equal
from harness import Gateway, Scene, stream_name

WORDS = ["to", "be", "or", "not", "to", "be", "that", "is", "the", "question"]


def ask(gateway: Gateway, name: str) -> Stream[ChatCompletionChunk]:
    """Asks for a streamed completion of which each event waits until the one before has been seen."""
    client = OpenAI(base_url=f"{gateway.url}/stream/v1", api_key="none", timeout=GUARD, max_retries=0)
    return client.chat.completions.create(
        model=name, messages=[{"role": "user", "content": " ".join(WORDS)}], stream=True
    )


def test_deltas_arrive_one_by_one(scene: Scene) -> None:
    """The client yields each delta before the model has produced the next, and the stream ends in good order."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)
    name = stream_name()
    deltas, finish = [], None
    with ask(gateway, name) as stream:
        for event in stream:
            choice = event.choices[0]
            finish = choice.finish_reason
            if choice.delta.content:
                deltas.append(choice.delta.content.strip())
                backend.seen(name)
    equal(deltas, WORDS, "deltas")
    equal(finish, "stop", "finish_reason")
    # The client goes away at `[DONE]`, which may be before the last chunk.
    outcome = gateway.records()[0]["outcome"]
    check(outcome in ("complete", "client_left"), f"outcome in the access log: {outcome}")


def test_closing_early_reaches_the_backend(scene: Scene) -> None:
    """A client that closes its stream early makes the backend see the disconnect, so that it can stop computing."""
    backend = scene.uvicorn()
    gateway = scene.gateway(backend.url)
    name = stream_name()
    with ask(gateway, name) as stream:
        check(next(stream).choices[0].delta.content, "the first event has no delta")
    backend.wait("left", name)
    equal(gateway.records()[0]["outcome"], "client_left", "outcome in the access log")
