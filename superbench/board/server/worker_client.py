"""Client of a worker process: one operation at a time, with a time limit; a process that ended is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import Any

from superbench.errors import Refusal, SuperbenchError, Unavailable

LONGEST_ANSWER = 2**20


class WorkerFailed(Exception):
    """The worker ended, or exceeded its time limit."""


class WorkerClient:
    """Runs `superbench.board.server.worker` for the board at `address` and sends it requests."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def run(self, operation: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        """Runs an operation and returns its answer; raises `WorkerFailed` if there is none within `seconds`."""
        async with self._turn:
            process = await self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write((json.dumps({"operation": operation, **arguments}) + "\n").encode())
                await process.stdin.drain()
                line = await asyncio.wait_for(process.stdout.readline(), seconds)
                return dict(json.loads(line))
            except (TimeoutError, ValueError, OSError) as error:  # no line, an incomplete line, or a closed pipe
                await self._end()
                raise WorkerFailed(f"{operation}: {type(error).__name__} {error}".strip()) from error
            except asyncio.CancelledError:
                await self._end()
                raise

    async def ask(self, operation: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        """Runs an operation and returns its result; raises its `Refusal`, `Unavailable` or `SuperbenchError`."""
        try:
            answer = await self.run(operation, seconds, **arguments)
        except WorkerFailed as error:
            raise SuperbenchError(f"The scoring worker ended before it answered ({error}).") from error
        if "refused" in answer:
            facts = answer["refused"]
            refusal = Refusal(facts["reason"], facts["code"])
            refusal.status = facts["status"]
            raise refusal
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        if "failed" in answer:
            raise SuperbenchError(answer["failed"])
        return dict(answer["done"])

    async def close(self) -> None:
        """Ends the process."""
        await self._end()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "superbench.board.server.worker", str(os.getpid()),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LONGEST_ANSWER,
                env={**os.environ, "OMP_NUM_THREADS": "1"}, process_group=0,  # a terminal's interrupts go to the server only
            )  # fmt: skip
            assert self._process.stdin is not None
            self._process.stdin.write(f"{self.address}\n".encode())
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
