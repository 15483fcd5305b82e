"""A broker that needs no server: messages are files in a directory that everybody on one host shares.

kombu's own filesystem transport writes a message in place, and a reader that finds half of it dies.  Here a message is
written to a hidden name and renamed, so that a reader sees all of it or nothing, and a message that does not decode is
set aside in `undecodable/` and skipped.  A message whose worker dies is lost; a lost wake only costs time, because
everybody who is woken has a timer too.  For the same reason a queue that nobody reads does not grow without end: a rack's
queue holds one wake (a second would say nothing new), any other at most `MOST_WAITING`, and what is put beyond is dropped.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from queue import Empty
from time import time_ns
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.transport.virtual import BrokerState

SUFFIX = ".msg"
UNDECODABLE = "undecodable"
RACK_QUEUE = "rack."
MOST_WAITING = 1000
LOOK_EVERY = 50
"""How many messages a channel puts until it counts again how many wait; counting reads the whole directory."""


class Channel(filesystem.Channel):
    """kombu's channel with messages that appear and disappear by rename."""

    _puts = 0

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        folder = Path(self.data_folder_out)
        if queue.startswith(RACK_QUEUE):
            name = f"{'':0>20}_wake.{queue}{SUFFIX}"  # One name, so that a second wake takes the first one's place.
        else:
            if self._puts % LOOK_EVERY == 0 and self._size(queue) >= MOST_WAITING - LOOK_EVERY:
                return
            self._puts += 1
            name = f"{time_ns():020d}_{uuid.uuid4()}.{queue}{SUFFIX}"
        hidden = folder / f".{uuid.uuid4()}.part"
        data = json.dumps(payload).encode()
        try:
            try:
                hidden.write_bytes(data)
            except FileNotFoundError:
                folder.mkdir(parents=True, exist_ok=True)
                hidden.write_bytes(data)
            hidden.rename(folder / name)
        except OSError as error:
            hidden.unlink(missing_ok=True)
            raise ChannelError(f"cannot add a message to {folder}: {error}") from error

    def _get(self, queue: str, timeout: Any = None) -> Any:
        """The oldest message of the queue, removed.  Whoever renames it first has it."""
        folder = Path(self.data_folder_in)
        for name in self._names(queue):
            mine = folder / f".{name}.{uuid.uuid4()}.taken"
            try:
                (folder / name).rename(mine)
            except FileNotFoundError:
                continue
            try:
                payload = json.loads(mine.read_bytes())
                if not isinstance(payload, dict) or "body" not in payload:
                    raise ValueError("not a message")
            except ValueError:
                aside = folder / UNDECODABLE
                aside.mkdir(exist_ok=True)
                mine.rename(aside / name)
                continue
            mine.unlink()
            return payload
        raise Empty()

    def _purge(self, queue: str) -> int:
        count = 0
        for name in self._names(queue):
            try:
                (Path(self.data_folder_in) / name).unlink()
                count += 1
            except FileNotFoundError:
                continue
        return count

    def _size(self, queue: str) -> int:
        return len(self._found(queue))

    def _names(self, queue: str) -> list[str]:
        """Names of the queue's messages, oldest first."""
        return sorted(self._found(queue))

    def _found(self, queue: str) -> list[str]:
        """Names of the queue's messages.  A queue's name may hold dots; one never ends in another's."""
        try:
            names = os.listdir(self.data_folder_in)
        except FileNotFoundError:
            return []
        ending = f".{queue}{SUFFIX}"
        return [name for name in names if name.endswith(ending) and name.find(".") == len(name) - len(ending)]


class Transport(filesystem.Transport):
    """Give it to Celery by its class path; options as for kombu's filesystem transport."""

    Channel = Channel
    # The state that kombu's own transport shares between connections must not be shared with it here.
    global_state = BrokerState()  # type: ignore[no-untyped-call]

    def driver_version(self) -> str:
        """Version shown by `celery inspect`."""
        return "1"
