"""Bulk work followed: how far a job is, what was refused, and the way to end it."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from app.identity import current_context
from app.services import jobs
from app.web.forms import LARGEST

TITLES = {
    "machines.create": "Machines are added",
    "reservations.import": "Addresses are reserved",
    "subnets.renumber": "A subnet is renumbered",
}
LOOKS = {"succeeded": "good", "failed": "bad", "cancelled": "new"}
AFTER_END = {
    "subnets.renumber": "Both networks are valid; what has not moved is whole in the old one. Renumber again to go on, or"
    " renumber the new network to the old one to take it back.",
}


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    rule = f"/jobs/<int(max={LARGEST}):job_id>"
    blueprint.add_url_rule(rule, "job_page", job_page)
    blueprint.add_url_rule(f"{rule}/cancel", "job_cancel", job_cancel, methods=["POST"])


def job_page(job_id: int) -> str:
    """One job; htmx and the live page ask for the part that changes alone."""
    context = current_context()
    job = jobs.get(context, job_id)
    mine = context.actor.role == "admin" or (job.user_id is not None and job.user_id == context.actor.user_id)
    template = "_job_live.html" if request.headers.get("HX-Request") else "job.html"
    return render_template(
        template,
        context=context,
        job=job,
        title=TITLES.get(job.kind, job.kind),
        look=LOOKS.get(job.status, "busy"),
        may_end=mine and context.actor.role != "viewer" and job.finished_at is None and not job.wanted_end,
        rest=AFTER_END.get(job.kind, "") if job.finished_at and (job.failed or job.done < job.total) else "",
    )


def job_cancel(job_id: int) -> Response | str:
    """End a job after the batch in hand."""
    jobs.cancel(current_context(), job_id)
    return job_page(job_id) if request.headers.get("HX-Request") else redirect(f"/jobs/{job_id}", 303)
