"""DHCP snippets: options and pieces of configuration that people add to what DHCP says."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, PageQuery, Resource, allow, page
from app.api.schemas.snippet import (
    CheckSnippetSchema,
    NewSnippetSchema,
    OptionList,
    RevertSchema,
    RevisionPage,
    SnippetChangeSchema,
    SnippetPage,
    SnippetQuery,
    SnippetSchema,
    VerdictSchema,
)
from app.identity import current_context
from app.services import snippets

blueprint = Resource("dhcp-snippets", "Options and pieces of configuration that people add to what DHCP says")


@blueprint.get("/dhcp-snippets")
@allow("admin", "list DHCP snippets")
@blueprint.arguments(SnippetQuery, location="query")
@blueprint.response(200, SnippetPage)
def index(query: dict[str, Any]) -> Any:
    """List DHCP snippets."""
    return page(snippets.find(current_context(), **query), query["limit"])


@blueprint.post("/dhcp-snippets")
@allow("admin", "create DHCP snippets")
@blueprint.arguments(NewSnippetSchema)
@blueprint.response(201, SnippetSchema)
def create(body: dict[str, Any]) -> Any:
    """Create a DHCP snippet, once the servers' own checkers take it."""
    return snippets.create(current_context(), **body)


@blueprint.post("/dhcp-snippets/check")
@allow("admin", "check DHCP snippets", once=False)
@blueprint.arguments(CheckSnippetSchema)
@blueprint.response(200, VerdictSchema)
def check(body: dict[str, Any]) -> Any:
    """Ask the servers' own checkers what they think of a snippet; nothing is saved."""
    return snippets.check(current_context(), **body)


@blueprint.get("/dhcp-snippets/<int:snippet_id>")
@allow("admin", "see DHCP snippets")
@blueprint.shows(SnippetSchema)
def show(snippet_id: int) -> Any:
    """See a DHCP snippet."""
    return snippets.get(current_context(), snippet_id)


@blueprint.patch("/dhcp-snippets/<int:snippet_id>")
@allow("admin", "change DHCP snippets")
@blueprint.arguments(SnippetChangeSchema)
@blueprint.response(200, SnippetSchema)
def change(body: dict[str, Any], snippet_id: int) -> Any:
    """Change a DHCP snippet, switch it on or off."""
    return snippets.update(current_context(), snippet_id, **body)


@blueprint.delete("/dhcp-snippets/<int:snippet_id>")
@allow("admin", "delete DHCP snippets")
@blueprint.response(204)
def delete(snippet_id: int) -> Any:
    """Delete a DHCP snippet with its history."""
    snippets.delete(current_context(), snippet_id)
    return NO_CONTENT


@blueprint.get("/dhcp-snippets/<int:snippet_id>/revisions")
@allow("admin", "see DHCP snippets")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, RevisionPage)
def history(query: dict[str, Any], snippet_id: int) -> Any:
    """See what a DHCP snippet has said, oldest first."""
    return page(snippets.revisions(current_context(), snippet_id, **query), query["limit"])


@blueprint.post("/dhcp-snippets/<int:snippet_id>/revert")
@allow("admin", "revert DHCP snippets")
@blueprint.arguments(RevertSchema)
@blueprint.response(200, SnippetSchema)
def revert(body: dict[str, Any], snippet_id: int) -> Any:
    """Make a former body of a DHCP snippet the present one."""
    return snippets.revert(current_context(), snippet_id, body["revision"], force=body["force"])


@blueprint.get("/dhcp-options")
@allow("viewer", "list DHCP options")
@blueprint.response(200, OptionList)
def options() -> Any:
    """List the DHCP options that have a name."""
    return {"items": snippets.options()}
