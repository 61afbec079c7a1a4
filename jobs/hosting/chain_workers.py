"""The buckets of a chain spread over processes, with the outputs in the order of one process.

A bucket's features and repricing depend on its own rows and on estimates alone, and learning depends on neither.
So the main process reads and learns, each worker keeps its share of the buckets, and the main process yields their
outputs in order. Workers are forked before threads exist, and share the memory of what is imported.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
import traceback
from collections.abc import Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection

from features.bucket_logic import Output
from jobs.hosting.chain import BucketJobs, Call
from jobs.pricing.policy import Policy

_CHUNK = 2_000
"""Steps that are sent to the workers at a time; two such chunks are under way."""


class WorkerError(RuntimeError):
    """A call that failed in a worker: names bucket, kind, address and record."""


class ChainWorkers:
    """Runs the calls of a chain in other processes (a :class:`jobs.hosting.chain.Runner`).

    Parameters
    ----------
    policy : the business numbers.
    workers : how many processes; bucket b lives in worker b mod workers.
    """

    def __init__(self, policy: Policy, workers: int) -> None:
        context = multiprocessing.get_context("fork")
        self._connections: list[Connection] = []
        self._processes = []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, [*self._connections, ours], policy), daemon=True
            )
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def run(self, steps: Iterable[Output | Call]) -> Iterator[Output]:
        """Yield the steps with every call replaced by its outputs.

        Raises
        ------
        WorkerError
            If a call failed.
        """
        waiting = iter(steps)
        before: list[Output | Call] = []
        while chunk := list(islice(waiting, _CHUNK)):
            self._send(chunk)
            yield from self._receive(before)
            before = chunk
        yield from self._receive(before)

    def _worker(self, call: Call) -> int:
        return int(call.key) % len(self._connections)

    def _send(self, chunk: list[Output | Call]) -> None:
        calls: list[list[Call]] = [[] for _ in self._connections]
        for step in chunk:
            if isinstance(step, Call):
                calls[self._worker(step)].append(step)
        for connection, mine in zip(self._connections, calls, strict=True):
            connection.send(mine)

    def _receive(self, chunk: list[Output | Call]) -> Iterator[Output]:
        if not chunk:
            return
        answers = []
        for connection in self._connections:
            try:
                answer = connection.recv()
            except EOFError as error:
                raise WorkerError("a worker ended without an answer; it may have been out of memory") from error
            if isinstance(answer, str):
                raise WorkerError(answer)
            answers.append(iter(answer))
        for step in chunk:
            if isinstance(step, Output):
                yield step
            else:
                yield from next(answers[self._worker(step)])

    def close(self) -> None:
        """End the workers."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()

    def __enter__(self) -> ChainWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(connection: Connection, not_mine: list[Connection], policy: Policy) -> None:
    """Answer lists of calls with lists of their outputs, until the other end closes."""
    for inherited in not_mine:
        inherited.close()
    jobs = BucketJobs(policy)
    # Taken off the pipe at once: both ends writing to a full pipe would wait for each other for ever.
    arrived: queue.SimpleQueue[list[Call] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, arrived), daemon=True).start()
    while (calls := arrived.get()) is not None:
        try:
            connection.send(_answer(jobs, calls))
        except OSError:
            return


def _answer(jobs: BucketJobs, calls: list[Call]) -> list[list[Output]] | str:
    """Return each call's outputs, or what went wrong."""
    outputs = []
    for call in calls:
        try:
            outputs.append(jobs.take(call))
        except Exception:
            where = f"{call.job}, bucket {call.key}, {call.kind} {call.address}"
            return f"{where}: {traceback.format_exc()}record: {call.payload[:2_000]!r}"
    return outputs


def _read(connection: Connection, arrived: queue.SimpleQueue[list[Call] | None]) -> None:
    try:
        while True:
            arrived.put(connection.recv())
    except (EOFError, OSError):
        arrived.put(None)
