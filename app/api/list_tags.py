"""Entity tags of lists that were answered lately, so that an unchanged list is not written again to find it unchanged.

An entity tag stays what it is, a digest of what the list says.  It is remembered with the revision that the list's
tables had before the list was read (`app.services.machines.list_revision`): as long as the revision is the same, the
same question has the same answer, whoever asks.  Where the database does not keep the revision, nothing is remembered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from flask import Flask

from app.services import machines
from app.services.context import Context

EXTENSION = "muster-list-tags"
MOST = 1000
LONGEST_QUESTION = 2000


class ListTags:
    """The tags that this process remembers, by question; the one that was not asked for longest goes first."""

    def __init__(self) -> None:
        self._tags: OrderedDict[bytes, tuple[int, str]] = OrderedDict()
        self._lock = threading.Lock()
        self._kept: bool | None = None

    def get(self, question: bytes, revision: int) -> str | None:
        """The tag of the answer to this question at this revision, if it is known."""
        with self._lock:
            found = self._tags.get(question)
            if found is None or found[0] != revision:
                return None
            self._tags.move_to_end(question)
            return found[1]

    def put(self, context: Context, question: bytes, revision: int, tag: str) -> None:
        """Remember a tag, if the database keeps the revision; that is looked at once."""
        if self._kept is None:
            self._kept = machines.has_list_revision(context)
        if not self._kept or len(question) > LONGEST_QUESTION:
            return
        with self._lock:
            self._tags[question] = (revision, tag)
            self._tags.move_to_end(question)
            while len(self._tags) > MOST:
                self._tags.popitem(last=False)


def attach(application: Flask) -> None:
    """Let the application remember."""
    application.extensions[EXTENSION] = ListTags()


def of(application: Flask) -> ListTags:
    """What the application remembers."""
    found: ListTags = application.extensions[EXTENSION]
    return found
