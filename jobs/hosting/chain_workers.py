"""The buckets of a chain spread over worker processes, with outputs in the order of a single process.

A bucket's features and repricing depend on its own rows and on estimates, and learning depends on neither. So the
main process reads and learns, each worker runs its share of the buckets, and the main process yields their outputs
in order. Workers are forked before threads exist, so that they share the memory of imported modules.
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
"""Steps sent to the workers at a time; two such chunks are in flight."""


class WorkerError(RuntimeError):
    """A call that failed in a worker; the message names bucket, kind, address and record."""


class ChainWorkers:
    """Runs the calls of a chain in worker processes (a :class:`jobs.hosting.chain.Runner`).

    Parameters
    ----------
    policy : the policy.
    workers : number of processes; bucket b runs in worker b mod workers.
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
                raise WorkerError("a worker ended without a reply; it may have been out of memory") from error
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
    """Answer lists of calls with lists of their outputs until the other end closes."""
    for inherited in not_mine:
        inherited.close()
    jobs = BucketJobs(policy)
    # A thread empties the pipe at once: two ends that write to full pipes would deadlock.
    arrived: queue.SimpleQueue[list[Call] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, arrived), daemon=True).start()
    while (calls := arrived.get()) is not None:
        try:
            connection.send(_answer(jobs, calls))
        except OSError:
            return


def _answer(jobs: BucketJobs, calls: list[Call]) -> list[list[Output]] | str:
    """Return each call's outputs, or the error text of the first failed call."""
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
