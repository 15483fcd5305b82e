"""Web pages: Jinja, htmx and one event stream a browser, over the same services as the API; no rule of their own.

`mount` puts them on the application.  Everything but the sign-in page and the static files needs somebody signed in.
"""

from __future__ import annotations

from flask import Flask

from app.web import frame, machines, racks, session


def mount(application: Flask) -> None:
    """Register the pages, on a blueprint of this application's own."""
    blueprint = frame.make_blueprint()
    for part in (session, machines, racks):
        part.register(blueprint)
    application.register_blueprint(blueprint)
