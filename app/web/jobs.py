"""Bulk work followed: the jobs, how far each is, what was refused, and the way to end it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from app.identity import current_context
from app.services import jobs
from app.web.forms import LARGEST
from app.web.paging import asked_id

PAGE = 100
TITLES = {
    "machines.create": "Machines are added",
    "reservations.import": "Addresses are reserved",
    "subnets.renumber": "A subnet is renumbered",
}
LOOKS = {"succeeded": "good", "failed": "bad", "cancelled": "new"}
BEFORE_BEGIN = {"subnets.renumber": "It begins when the racks that are there serve the new network."}
AFTER_END = {
    "subnets.renumber": "Both networks are valid; what has not moved is whole in the old one. Renumber again to go on, or"
    " renumber the new network to the old one to take it back.",
}


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    rule = f"/jobs/<int(max={LARGEST}):job_id>"
    blueprint.add_url_rule("/jobs", "job_list", job_list)
    blueprint.add_url_rule(rule, "job_page", job_page)
    blueprint.add_url_rule(f"{rule}/cancel", "job_cancel", job_cancel, methods=["POST"])


def title(job: Any) -> str:
    """What a job does, in words."""
    return TITLES.get(job.kind, str(job.kind))


def job_list() -> str:
    """A page of jobs, newest first; htmx and the live page ask for the rows alone."""
    context = current_context()
    before = asked_id("before")
    found = jobs.latest(context, before or 0, PAGE)
    return render_template(
        "_job_rows.html" if request.headers.get("HX-Request") else "jobs.html",
        context=context,
        jobs=found,
        title=title,
        looks=LOOKS,
        source=f"/jobs?before={before}" if before is not None else "/jobs",
        first_page="/jobs" if before is not None else None,
        next_page=f"/jobs?before={found[-1].id}" if len(found) == PAGE else None,
    )


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
        title=title(job),
        look=LOOKS.get(job.status, "busy"),
        may_end=mine and context.actor.role != "viewer" and job.finished_at is None and not job.wanted_end,
        wait="" if job.finished_at or job.done else BEFORE_BEGIN.get(job.kind, ""),
        rest=AFTER_END.get(job.kind, "") if job.finished_at and (job.failed or job.done < job.total) else "",
    )


def job_cancel(job_id: int) -> Response | str:
    """End a job after the batch in hand."""
    jobs.cancel(current_context(), job_id)
    return job_page(job_id) if request.headers.get("HX-Request") else redirect(f"/jobs/{job_id}", 303)
