"""Questions to the calling rack: it lists, claims and answers them."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from app.rackapi.caller import body, calling_rack, take
from app.services import rack_questions

LONGEST_REASON = 2000


def mount(blueprint: Blueprint) -> None:
    """Add this module's routes."""
    blueprint.get("/questions")(questions)
    blueprint.post("/questions/<int:question_id>/claim")(claim_question)
    blueprint.post("/questions/<int:question_id>/answer")(answer_question)


def questions() -> Response:
    """Questions that wait."""
    context, rack_id = calling_rack()
    return jsonify(questions=rack_questions.waiting(context, rack_id))


def claim_question(question_id: int) -> Response:
    """Take one question with its particulars."""
    context, rack_id = calling_rack()
    return jsonify(rack_questions.claim(context, rack_id, question_id))


def answer_question(question_id: int) -> Response:
    """What the rack says to a question, or why it says nothing."""
    context, rack_id = calling_rack()
    data = body()
    reason = take(data, "reason", str, optional=True)
    rack_questions.answer(
        context,
        rack_id,
        question_id,
        take(data, "answer", dict, optional=True),
        reason[:LONGEST_REASON] if reason else None,
    )
    return Response(status=204)
