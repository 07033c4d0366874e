"""Functions that run in a process of their own when they are called in a program that embeds edge.

Training, proofs and downloads bring libraries that change the process they run in: environment, random seeds, logging,
warnings, a hub's session. In a host's process these functions therefore start a child, which has none of the host's
threads and no network but what it was called for; in a process that is ours (the command line) they just run.
"""

from __future__ import annotations

import functools
import os
import pickle
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import IO, Any, NoReturn, ParamSpec, TypeVar

from edge.errors import EdgeError
from edge.system.offline import child_environment, is_ours, silence

P = ParamSpec("P")
R = TypeVar("R")


def in_own_process(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, run by a child unless this process is ours.

    Arguments and result are pickled; functions among the arguments (`progress`, `stop`) are called back here, in the
    caller's thread. What the function raises is raised here; what a callback raises ends the child.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if is_ours():
            return function(*args, **kwargs)
        result: R = _run(call, args, kwargs)
        return result

    return call


def call_by_name(name: str, /, *args: Any, **kwargs: Any) -> Any:
    """Call the function "package.module:name" as one that is decorated with `in_own_process`: in a host's process its
    module is never imported. Result and arguments must not be of its module's own classes."""
    return pkgutil.resolve_name(name)(*args, **kwargs) if is_ours() else _run(name, args, kwargs)


class _Callback:
    """Stands in a child for a function of the caller's."""

    def __init__(self, number: int) -> None:
        self.number = number


def _run(function: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    callbacks: list[Callable[..., Any]] = []

    def sent(value: Any) -> Any:
        if not callable(value) or isinstance(value, type):
            return value
        callbacks.append(value)
        return _Callback(len(callbacks) - 1)

    job = pickle.dumps((function, [sent(value) for value in args], {key: sent(value) for key, value in kwargs.items()}))
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge.system.own_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=child_environment(),
        )
        # Its standard input stays open as long as we live; the child ends when it closes.
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(job)
                process.stdin.flush()
                return _answered(process.stdin, process.stdout, callbacks)
            except (EOFError, BrokenPipeError) as error:
                status = process.wait()
                log.seek(0)
                last = log.read().decode(errors="replace").strip().splitlines()[-1:]
                how = f"was killed by signal {-status}, for want of memory perhaps" if status < 0 else "ended"
                name = function if isinstance(function, str) else function.__name__
                raise EdgeError(f"the process that ran {name} {how}; {''.join(last)}") from error
            finally:
                process.kill()


def _answered(requests: IO[bytes], replies: IO[bytes], callbacks: list[Callable[..., Any]]) -> Any:
    """Serve the child's calls until it is done: its result, or raises its error."""
    while True:
        kind, value, arguments = pickle.load(replies)
        if kind == "result":
            return value
        if kind == "error":
            raise value
        requests.write(pickle.dumps(callbacks[value](*arguments)))
        requests.flush()


def _serve() -> NoReturn:
    """The child: one call, whose print-outs go to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's, who ends us
    silence()
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    function, args, kwargs = pickle.load(requests)
    if isinstance(function, str):
        function = pkgutil.resolve_name(function)
    returned: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(requests, returned), daemon=True).start()
    talking = threading.Lock()

    def send(*message: Any) -> None:
        replies.write(pickle.dumps(message))
        replies.flush()

    def received(value: Any) -> Any:
        if not isinstance(value, _Callback):
            return value

        def call(*arguments: Any) -> Any:
            with talking:
                send("call", value.number, arguments)
                return returned.get()

        return call

    try:
        result = function(*map(received, args), **{key: received(value) for key, value in kwargs.items()})
        send("result", result, ())
    except BaseException as error:  # whatever it was, it is raised where the function was called
        send("error", _sendable(error), ())
    replies.close()
    os._exit(0)


def _listen(requests: IO[bytes], returned: SimpleQueue[Any]) -> None:
    """Hand on what callbacks returned; end with the caller, who may have been killed."""
    try:
        while True:
            returned.put(pickle.load(requests))
    except EOFError:
        os._exit(1)


def _sendable(error: BaseException) -> BaseException:
    if not isinstance(error, EdgeError):
        error.add_note("in the process of its own:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception of a library's own making, with arguments that it cannot be made of again
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    # Under its own name, so that what is pickled here is what is unpickled there.
    from edge.system.own_process import _serve as serve

    serve()
