"""Where installed systems take their packages from."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.package import (
    NewRepositorySchema,
    RepositoryChangeSchema,
    RepositoryPage,
    RepositoryQuery,
    RepositorySchema,
)
from app.identity import current_context
from app.services import package_repositories

blueprint = Resource("package_repositories", "Package repositories of installed systems")


@blueprint.get("/package-repositories")
@allow("viewer", "list package repositories")
@blueprint.arguments(RepositoryQuery, location="query")
@blueprint.response(200, RepositoryPage)
def index(query: dict[str, Any]) -> Any:
    """List package repositories."""
    return page(package_repositories.find(current_context(), **query), query["limit"])


@blueprint.post("/package-repositories")
@allow("admin", "add package repositories")
@blueprint.arguments(NewRepositorySchema)
@blueprint.response(201, RepositorySchema)
def create(body: dict[str, Any]) -> Any:
    """Add a package repository; machines that are deployed from now on get it."""
    return package_repositories.create(current_context(), **body)


@blueprint.get("/package-repositories/<int:repository_id>")
@allow("viewer", "see package repositories")
@blueprint.shows(RepositorySchema)
def show(repository_id: int) -> Any:
    """See a package repository."""
    return package_repositories.get(current_context(), repository_id)


@blueprint.patch("/package-repositories/<int:repository_id>")
@allow("admin", "change package repositories")
@blueprint.arguments(RepositoryChangeSchema)
@blueprint.response(200, RepositorySchema)
def change(body: dict[str, Any], repository_id: int) -> Any:
    """Change a package repository; machines that are installed keep what they have."""
    return package_repositories.update(current_context(), repository_id, **body)


@blueprint.delete("/package-repositories/<int:repository_id>")
@allow("admin", "delete package repositories")
@blueprint.response(204)
def delete(repository_id: int) -> Any:
    """Delete a package repository; machines that are installed keep what they have."""
    package_repositories.delete(current_context(), repository_id)
    return NO_CONTENT
