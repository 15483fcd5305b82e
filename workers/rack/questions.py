"""Answers what the control plane asks this rack: a question is claimed, carried out, answered, all within its time.

Questions are answered beside the agent's own work, so that an apply that takes long keeps nobody waiting; those that
change what is applied here are answered in the agent's turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from workers.rack.channels.base import ChannelError
from workers.rack.client import ControlPlane, ControlPlaneDown, ControlPlaneRefused
from workers.rack.offer import request_ids
from workers.rack.secret_files import SecretFiles
from workers.rack.waiting import wait_for

log = structlog.get_logger()

TURN_SECONDS = 5.0
Answerer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""From a question's particulars to its answer.  CannotAnswer, ChannelError or OSError: why there is none."""


class CannotAnswer(Exception):
    """Why this rack does not do what it was asked."""


class Questions:
    """Questions of some kinds; the others are somebody else's."""

    def __init__(self, client: ControlPlane, secrets: SecretFiles, answerers: Mapping[str, Answerer]) -> None:
        self._client, self._secrets, self._answerers = client, secrets, dict(answerers)

    def turn(self) -> None:
        """Answer all that wait.  Raises what the control plane's client raises."""
        for item in self._client.questions():
            if item.get("kind") not in self._answerers:
                continue
            question = self._client.claim_question(int(item["id"]))
            if question is not None:
                self._answer(question)

    def _answer(self, question: Mapping[str, Any]) -> None:
        answer: Mapping[str, Any] | None = None
        reason: str | None = None
        try:
            answer = self._answerers[question["kind"]](question.get("body") or {})
        except (CannotAnswer, ChannelError, OSError) as error:
            reason = self._secrets.hide(str(error))
        except Exception as error:
            log.exception("question.failed", kind=question["kind"])
            reason = f"{type(error).__name__}; the rack's log says more"
        log.info(
            "question.answered",
            question=question["id"],
            kind=question["kind"],
            reason=reason,
            request_id=request_ids(question.get("request_id")),
        )
        self._client.answer_question(int(question["id"]), answer, reason)


class QuestionThread(threading.Thread):
    """Answers questions when the event is set, and every few seconds."""

    def __init__(self, questions: Questions, wake: threading.Event, stop: threading.Event) -> None:
        super().__init__(name="questions", daemon=True)
        self._questions, self._wake, self._end = questions, wake, stop

    def run(self) -> None:
        """Until stopped."""
        while not self._end.is_set():
            try:
                self._questions.turn()
            except (ControlPlaneDown, ControlPlaneRefused) as error:
                log.warning("questions.later", reason=str(error))
            except Exception:
                log.exception("questions.failed")
            wait_for(self._wake, self._end, TURN_SECONDS)
