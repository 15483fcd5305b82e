"""Domains: who serves each zone and how new it is there, and the records that people add."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from app.identity import current_context
from app.services import dns_records, dns_secondaries, domains, installed_names, zone_reports
from app.services.dns_data import TYPES
from app.web.forms import LARGEST, after_id

DOMAIN = f"<int(max={LARGEST}):domain_id>"
PAGE = 200


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/domains", "domain_list", domain_list)
    blueprint.add_url_rule(f"/domains/{DOMAIN}", "domain_page", domain_page)


def domain_list() -> str:
    """A page of domains, and the outside secondaries."""
    context = current_context()
    after = after_id()
    found = domains.find(context, after=after, limit=PAGE)
    return render_template(
        "domains.html",
        context=context,
        domains=found,
        secondaries=dns_secondaries.find(context) if not after else [],
        first_page="/domains" if after else None,
        next_page=f"/domains?after={found[-1].id}" if len(found) == PAGE else None,
    )


def domain_page(domain_id: int) -> str:
    """One domain with a page of its records; htmx and the live page ask for the part that changes."""
    context = current_context()
    domain = domains.get(context, domain_id)
    after, text = after_id(), request.args.get("text", "").strip()[:253]
    kind = request.args.get("type", "")
    kind = kind if kind in TYPES else ""
    records = dns_records.find(context, domain_id, after, PAGE, kind=kind or None, text=text or None)
    query = request.query_string.decode("ascii", "replace")
    root = f"/domains/{domain_id}"
    return render_template(
        "_domain_live.html" if request.headers.get("HX-Request") else "domain.html",
        context=context, domain=domain, records=records, servers=zone_reports.servers(context, domain_id),
        stale=installed_names.stale(context, domain_id, limit=PAGE),
        secondaries=dns_secondaries.find(context), types=TYPES, text=text, kind=kind,
        source=root + (f"?{query}" if query else ""),
        first_page=root if after else None, last_id=records[-1].id if len(records) == PAGE else None,
    )  # fmt: skip
