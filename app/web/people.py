"""People: users for administrators; for everybody the own password, SSH keys and API tokens."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

from app.identity import current_context
from app.services import keys, tokens, users
from app.services.context import ROLES
from app.web.forms import Answer, Field, Form, done
from app.web.paging import asked_id

LARGEST = 2**53
PAGE = 100
USER = f"<int(max={LARGEST}):user_id>"
USERS, ACCOUNT = ("/users", "Users"), ("/account", "Your account")
WORDS = {"viewer": "viewer: sees", "operator": "operator: works with machines", "admin": "admin: changes everything"}


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    both = ["GET", "POST"]
    blueprint.add_url_rule("/users", "user_list", user_list)
    blueprint.add_url_rule("/users/new", "user_new", user_new, methods=both)
    blueprint.add_url_rule(f"/users/{USER}/edit", "user_edit", user_edit, methods=both)
    blueprint.add_url_rule(f"/users/{USER}/password", "user_password", user_password, methods=both)
    blueprint.add_url_rule(f"/users/{USER}/delete", "user_delete", user_delete, methods=both)
    blueprint.add_url_rule("/account", "account", account)
    blueprint.add_url_rule("/account/password", "own_password", own_password, methods=both)
    blueprint.add_url_rule("/account/keys/new", "key_new", key_new, methods=both)
    blueprint.add_url_rule(f"/account/keys/<int(max={LARGEST}):key_id>/delete", "key_delete", key_delete, methods=both)
    blueprint.add_url_rule("/account/tokens/new", "token_new", token_new, methods=both)
    blueprint.add_url_rule(
        f"/account/tokens/<int(max={LARGEST}):token_id>/delete", "token_delete", token_delete, methods=both
    )


def user_list() -> str:
    """All users, a page at a time."""
    context = current_context()
    after = asked_id("after") or 0
    found = users.find(context, after=after, limit=PAGE)
    following = f"/users?after={found[-1].id}" if len(found) == PAGE else None
    first = "/users" if after else None
    return render_template("users.html", context=context, users=found, next_page=following, first_page=first)


def user_new() -> Answer:
    """Add a user."""
    context = current_context()
    context.require("admin", "create users")
    form = Form(
        "Add a user",
        "Add user",
        USERS,
        (
            Field("name", "Name", required=True, empty=""),
            Field("role", "Role", "choice", "operator", choices=tuple(WORDS.items()), empty=""),
            Field("password", "Password", "password", autocomplete="new-password",
                  help="At least 10 characters. Empty: only API tokens sign in."),
        ),
    )  # fmt: skip

    def call(given: dict[str, Any]) -> Answer:
        row = users.create(context, **given)
        return done("/users", f"{row.name} was added.")

    return form.run(context, call)


def user_edit(user_id: int) -> Answer:
    """Change a user's role, or close or reopen the account."""
    context = current_context()
    context.require("admin", "change users")
    row = users.get(context, user_id)
    form = Form(
        f"Edit {row.name}",
        "Save",
        USERS,
        (
            Field("role", "Role", "choice", row.role, choices=tuple((one, WORDS[one]) for one in ROLES), empty=""),
            Field("active", "May sign in", "check", row.active, "Without it, sessions and tokens end at once."),
        ),
        of=row,
    )

    def call(given: dict[str, Any]) -> Answer:
        users.update(form.seen(context), user_id, **given)
        return done("/users", f"{row.name} was changed.")

    return form.run(context, call)


def user_password(user_id: int) -> Answer:
    """Set somebody's password."""
    context = current_context()
    context.require("admin", "set other people's passwords")
    row = users.get(context, user_id)
    fields: tuple[Field, ...] = (_password("password", "New password"),)
    if user_id == context.actor.user_id:
        fields = (_password("current", "Present password", "current-password"), *fields)

    def call(given: dict[str, Any]) -> Answer:
        users.set_password(context, user_id, **given)
        return done("/users", f"{row.name} has a new password.")

    return Form(f"New password for {row.name}", "Set password", USERS, fields).run(context, call)


def user_delete(user_id: int) -> Answer:
    """Remove a user."""
    context = current_context()
    context.require("admin", "delete users")
    row = users.get(context, user_id)
    intro = "The audit keeps the name. Tokens and SSH keys go with the account; machines must be released before."
    form = Form(f"Delete {row.name}?", f"Delete {row.name}", USERS, intro=intro, danger=True)

    def call(given: dict[str, Any]) -> Answer:
        users.delete(context, user_id)
        return done("/users", f"{row.name} was deleted.")

    return form.run(context, call)


def account() -> str:
    """One's own password, SSH keys and API tokens."""
    context = current_context()
    return render_template(
        "account.html", context=context, keys=keys.find(context, limit=500), tokens=tokens.find(context, limit=500)
    )


def own_password() -> Answer:
    """Change one's own password; the session ends with the old one."""
    context = current_context()
    fields = (_password("current", "Present password", "current-password"), _password("password", "New password"))
    form = Form("Change your password", "Change password", ACCOUNT, fields, "You sign in again with the new one.")

    def call(given: dict[str, Any]) -> Answer:
        users.set_password(context, context.actor.user_id or 0, **given)
        return done("/login", "The password was changed.")

    return form.run(context, call)


def key_new() -> Answer:
    """Add an SSH key."""
    context = current_context()
    words = "One line, such as: ssh-ed25519 AAAA... name@host. It is put on the machines that you deploy from now on."
    fields = (Field("public_key", "Public key", "area", required=True, help=words, empty=""),)

    def call(given: dict[str, Any]) -> Answer:
        row = keys.add(context, given["public_key"])
        return done("/account", f"The key {row.fingerprint} was added.")

    return Form("Add an SSH key", "Add key", ACCOUNT, fields).run(context, call)


def key_delete(key_id: int) -> Answer:
    """Forget an SSH key."""
    context = current_context()
    words = "Machines that are deployed already keep what they have."
    form = Form("Delete this SSH key?", "Delete key", ACCOUNT, intro=words, danger=True)

    def call(given: dict[str, Any]) -> Answer:
        keys.delete(context, key_id)
        return done("/account", "The key was deleted.")

    return form.run(context, call)


def token_new() -> Answer:
    """Make an API token, shown once."""
    context = current_context()
    form = Form(
        "Make an API token",
        "Make token",
        ACCOUNT,
        (
            Field("name", "Where it will be used", required=True, empty=""),
            Field("days", "Days until it ends", "number", 90, help="Empty: it lives until it is deleted."),
        ),
        "A token may do what you may do.",
    )

    def call(given: dict[str, Any]) -> Answer:
        made = tokens.create(context, **given)
        return render_template(
            "once.html", context=context, title="Your API token", secret=made.text, back=ACCOUNT,
            words=f"{made.row.name}: send it as Authorization: Bearer, or give it to muster login --token.",
        )  # fmt: skip

    return form.run(context, call)


def token_delete(token_id: int) -> Answer:
    """End an API token."""
    context = current_context()
    words = "What uses it is refused from then on."
    form = Form("Delete this API token?", "Delete token", ACCOUNT, intro=words, danger=True)

    def call(given: dict[str, Any]) -> Answer:
        tokens.delete(context, token_id)
        return done("/account", "The token was deleted.")

    return form.run(context, call)


def _password(name: str, label: str, autocomplete: str = "new-password") -> Field:
    return Field(name, label, "password", required=True, empty="", autocomplete=autocomplete)
