"""A client of QEMU's machine protocol (QMP, docs/interop/qmp-spec.txt of QEMU): one connection, commands and events."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

START_SECONDS = 15.0
ANSWER_SECONDS = 15.0


class QmpError(Exception):
    """QEMU refused a command, went away, or did not answer in time."""


class Qmp:
    """One conversation with a running QEMU."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Callable[[str], Awaitable[None]]
    ) -> None:
        """Speak over an open connection; `heard` is awaited with the name of each event."""
        self._reader = reader
        self._writer = writer
        self._heard = heard
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._events: set[asyncio.Task[None]] = set()
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def connect(
        cls, socket: Path, process: asyncio.subprocess.Process, heard: Callable[[str], Awaitable[None]]
    ) -> "Qmp":
        """Connect to a QEMU that is just starting; QmpError when it exits or does not listen in time."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(socket)
                break
            except OSError as error:
                if process.returncode is not None:
                    raise QmpError(f"QEMU exited with status {process.returncode}") from error
                if asyncio.get_running_loop().time() > deadline:
                    raise QmpError(f"QEMU does not listen on {socket} after {START_SECONDS:g} s") from error
                await asyncio.sleep(0.02)
        qmp = cls(reader, writer, heard)
        await qmp.ask("qmp_capabilities", {})
        return qmp

    async def ask(self, command: str, arguments: dict[str, Any]) -> Any:
        """Run one command and return its answer."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            request = {"execute": command, "arguments": arguments, "id": number}
            self._writer.write(json.dumps(request).encode() + b"\n")
            await self._writer.drain()
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except ConnectionError as error:
            raise QmpError("QEMU has gone away") from error
        except TimeoutError as error:
            raise QmpError(f"no answer within {ANSWER_SECONDS:g} s") from error
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """End the conversation."""
        self._listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listener
        self._writer.close()

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except ConnectionError:
            pass
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(QmpError("QEMU has gone away"))

    def _take(self, message: dict[str, Any]) -> None:
        answer = self._waiting.get(message.get("id", 0))
        if "event" in message:
            task = asyncio.ensure_future(self._heard(message["event"]))
            self._events.add(task)
            task.add_done_callback(self._events.discard)
        elif answer is not None and not answer.done():
            if "error" in message:
                answer.set_exception(QmpError(message["error"]["desc"]))
            else:
                answer.set_result(message["return"])
