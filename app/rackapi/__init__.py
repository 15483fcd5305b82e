"""What racks call, at /rack/v1: enrol, wait for news, fetch offer and records, report, carry out power operations, answer questions,
learn where the broker is.

Every call but `enrol` carries the rack's own token.  Nothing here lets a rack see or change what is another rack's.
"""

from __future__ import annotations

from flask import Blueprint

from app.rackapi import broker, enrolment, news, power, questions, reports, snapshots, zones

blueprint = Blueprint("rackapi", __name__, url_prefix="/rack/v1")
for _part in (broker, enrolment, news, power, questions, reports, snapshots, zones):
    _part.mount(blueprint)
