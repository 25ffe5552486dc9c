"""What only Python's runtime does."""

import json

from claims import check, equal, eventually, stalled
from harness import INTEGRATION, RAW, Scene, broken


def test_async_generator_chunks_leave_one_by_one(scene: Scene) -> None:
    """Each chunk of an asynchronous generator arrives before the next is made, also if a coroutine returns it."""
    for member in ("asynchronous", "coroutine_returns_async_generator"):
        environment = scene.start(f"streams.{member}")
        for _ in range(2):
            post = environment.stream(environment.invoke({}))
            for number in range(4):
                equal(post.chunk(), f"chunk {number};".encode(), "chunk")
                environment.seen(number)
            equal(post.end(), {}, "trailers")
            post.answer()
        environment.next()


def test_coroutines_answer(scene: Scene) -> None:
    """An `async def` handler answers with what it returns or raises, always on the same event loop."""
    equal(scene.start("streams.coroutine").result({"a": 1}), {"got": {"a": 1}}, "result")
    equal(scene.start("streams.coroutine_fails").failure("KeyError")["errorMessage"], "'by coroutine'", "message")
    environment = scene.start("streams.same_loop")
    for _ in range(3):
        equal(environment.result(), 1, "loops")
    environment = scene.start("streams.uses_asyncio_run")
    for _ in range(2):
        equal(environment.result(), "ran", "result")


def test_iterators_stream(scene: Scene) -> None:
    """Whatever iterator a handler returns is a stream; empty pieces don't end it."""
    expected = {
        "returns_generator": (RAW, b"abc"),
        "returns_iterator": (INTEGRATION, b'{"statusCode": 204}' + bytes(8) + b"xy"),
        "returns_file": (RAW, b"one\ntwo\n"),
        "returns_async_iterable": (RAW, b"zz"),
        "empty_metadata": (INTEGRATION, b"{}" + bytes(8)),
    }
    for member, (content_type, body) in expected.items():
        environment = scene.start(f"streams.{member}")
        for _ in range(2):
            post = environment.stream(environment.invoke({}), content_type)
            equal(post.body(), body, member)
            post.answer()


def test_async_generator_that_breaks(scene: Scene) -> None:
    """An exception in an asynchronous generator is in the trailers, with the function's lines."""
    environment = scene.start("streams.async_breaks")
    post = environment.stream(environment.invoke({}))
    equal(post.chunk(), b"so far", "chunk")
    error = broken(post.end(), "LookupError")
    post.answer()
    check("streams.py" in error["stackTrace"][-1], f"trace {error['stackTrace']}")
    check(error["requestId"], "the request's id is there")
    environment.next()


def test_silent_async_generator_learns_at_once(scene: Scene) -> None:
    """When the client leaves, what an asynchronous generator awaits is cancelled, and the generator is closed."""
    environment = scene.start("streams.async_silence")
    for _ in range(2):
        post = environment.stream(environment.invoke({}))
        equal(post.chunk(), b"first", "chunk")
        post.connection.cut()
        for name in ("cancelled", "closed"):
            environment.noted(name)
            (environment.directory / "gate" / name).unlink()
    environment.next()


def test_slow_reader_holds_up_a_generator(scene: Scene) -> None:
    """A peer that stops reading makes a generator pause; an asynchronous one lets its background run on meanwhile."""
    environment = scene.start("streams.sync_flood")
    post = environment.stream(environment.invoke({"count": 1000}))
    made = stalled(lambda: int(environment.noted("made")))
    check(made < 160, f"{made} of 1000 blocks of 64 KiB were made while nobody read")
    for _ in range(1000):
        equal(post.read(65536), b"x" * 65536, "block")
    equal(post.end(), {}, "trailers")
    post.answer()
    environment.next()
    environment = scene.start("streams.async_endless")
    post = environment.stream(environment.invoke({}))
    environment.noted("background")
    post.connection.cut()
    environment.noted("closed")
    environment.next()


def test_generator_that_ignores_its_end(scene: Scene) -> None:
    """A generator that yields on after GeneratorExit is an error in the log, and no more."""
    environment = scene.start("streams.stubborn")
    post = environment.stream(environment.invoke({}))
    equal(post.chunk(), b"first", "chunk")
    post.connection.cut()
    environment.seen("go")
    environment.noted("closed")
    environment.next()
    check("generator ignored GeneratorExit" in environment.said(), "the log tells of it")


def test_values_that_are_no_bytes(scene: Scene) -> None:
    """A value that can't be streamed is an error that says what can."""
    environment = scene.start("streams.wrong_second")
    post = environment.stream(environment.invoke({}), INTEGRATION)
    post.read(len('{"statusCode": 200}') + 8)
    check("only the first value may be a dict" in broken(post.end(), "TypeError")["errorMessage"], "message")
    post.answer()
    environment.next()
    message = scene.start("streams.wrong_first").failure("TypeError")["errorMessage"]
    check("yield str or bytes" in message, message)


def test_results_that_are_no_json(scene: Scene) -> None:
    """Bytes go as they are, decimals as numbers, and what can't be JSON is an error."""
    environment = scene.start("streams.raw_bytes")
    post = environment.post(f"invocation/{environment.invoke({})}/response")
    equal((post.body(), post.headers["content-type"]), (b"\x00\xff", "application/unknown"), "result")
    post.answer()
    equal(scene.start("streams.decimals").result(), {"whole": 12, "part": 1.5}, "result")
    message = scene.start("streams.unserializable").failure("Runtime.MarshalError")["errorMessage"]
    check("Object of type object is not JSON serializable" in message, message)


def test_lines_are_told_at_once(scene: Scene) -> None:
    """Prints are plain, and `logging` has the level, the time and the request's id."""
    environment = scene.start("streams.logs")
    environment.result()
    eventually("all lines are there", lambda: environment.said().count("\n") == 3)
    warning, printed, error = environment.said().splitlines()
    level, _, request_id, message = warning.split("\t")
    equal((level, request_id[-1], message), ("[WARNING]", "1", "be warned"), "logged line")
    equal((printed, error), ("printed", "to stderr"), "printed lines")


def test_function_may_end_the_process(scene: Scene) -> None:
    """sys.exit ends it with its exit code, and cuts a stream without its end."""
    environment = scene.start("streams.exits")
    environment.invoke()
    equal(environment.exit_code(), 7, "exit code")
    environment = scene.start("streams.exits_in_stream")
    post = environment.stream(environment.invoke())
    equal(post.chunk(), b"some", "chunk")
    equal(environment.exit_code(), 7, "exit code")
    check(not post.connection.fill(), "the connection ends without the last chunk")


def test_modules_are_the_functions(scene: Scene) -> None:
    """A handler in a folder finds its own modules, also those with names that the runtime has."""
    equal(scene.start("nested/inner.handler").result(), ["gate", True], "result")
    code = scene.code(package____init___dot_py="", package__module_dot_py="def handler(e, c): return __name__")
    equal(scene.start("package.module.handler", code).result(), "package.module", "result")


def test_builtin_modules_are_no_handlers(scene: Scene) -> None:
    """A handler in a module that Python has built in can't be meant."""
    environment = scene.start("sys.exit")
    error = environment.error("init/error", "Runtime.BuiltInModuleConflict")
    check(json.dumps(error), "there is an error")
    equal(environment.exit_code(), 1, "exit code")
