"""Web pages: Jinja, htmx and one event stream a browser, over the same services as the API; no rule of their own.

`mount` puts them on the application.  Everything but the sign-in page and the static files needs somebody signed in.
"""

from __future__ import annotations

from flask import Flask

from app.web import (
    acted,
    devices,
    domain_forms,
    domains,
    frame,
    home,
    installation,
    jobs,
    journal,
    machine_forms,
    machines,
    network_forms,
    networks,
    people,
    racks,
    renumber_forms,
    reservation_forms,
    rollouts,
    selection,
    session,
    snippets,
    subnet_forms,
    syslog,
)

PARTS = (
    session, home, machines, machine_forms, selection, acted, networks, network_forms, subnet_forms, renumber_forms, jobs,
    reservation_forms, domains, domain_forms, devices, snippets, racks, rollouts, journal, people, syslog, installation,
)  # fmt: skip


def mount(application: Flask, otherwise: frame.Otherwise) -> None:
    """Register the pages, on a blueprint of this application's own. otherwise: answers 404s that no browser asked for."""
    blueprint = frame.make_blueprint()
    for part in PARTS:
        part.register(blueprint)
    application.register_blueprint(blueprint)
    application.register_error_handler(404, frame.answer_nowhere(otherwise))
