"""`muster login`, `key`, `token`, and the parts of `user` that go through the API."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from app.cli import output
from app.cli.client import CliError, Session, profile_path, write_profile
from app.cli.local import create_user, reset_user


@click.command()
@click.argument("name", default="admin")
@click.option("--token-name", default="muster command line", help="What the new token is called.")
@click.option("--days", type=int, help="How long the token lives.")
@click.option("--password-file", type=click.File("r"), help="Read the password from a file; - is standard input.")
@click.pass_obj
def login(session: Session, name: str, token_name: str, days: int | None, password_file: TextIO | None) -> None:
    """Sign in as NAME and keep an API token in the profile."""
    password = password_file.readline().rstrip("\n") if password_file else click.prompt("Password", hide_input=True)
    body = {"name": name, "password": password, "token_name": token_name, "days": days}
    answer = session.call("POST", "/login", body, signed=False)
    path = write_profile(session.url, answer["token"], name)
    click.echo(f"Signed in to {session.url} as {name}; the token is in {path}.")


@click.command()
@click.pass_obj
def whoami(session: Session) -> None:
    """See as whom you are signed in, and where."""
    found = session.call("GET", "/session")["user"]
    output.show_one({**found, "control plane": session.url}, session.as_json, ("name", "role", "control plane"))


@click.command()
@click.pass_obj
def logout(session: Session) -> None:
    """Forget the token in the profile. End it for everybody with `muster token delete`."""
    path = profile_path()
    path.unlink(missing_ok=True)
    click.echo(f"{path} is gone.")


@click.group()
def key() -> None:
    """Your SSH keys: they are put on machines that you deploy."""


@key.command("add")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def key_add(session: Session, file: Path) -> None:
    """Add the public key in FILE, as in ~/.ssh/id_ed25519.pub."""
    answer = session.call("POST", "/keys", {"public_key": file.read_text(errors="replace")})
    output.show_one(answer, session.as_json, ("id", "fingerprint", "comment"))


@key.command("list")
@click.pass_obj
def key_list(session: Session) -> None:
    """List your keys."""
    columns = {"id": "id", "fingerprint": "fingerprint", "comment": "comment"}
    output.show_list(session.pages("/keys"), columns, session.as_json)


@key.command("show")
@click.argument("key_id", type=int)
@click.pass_obj
def key_show(session: Session, key_id: int) -> None:
    """See a key."""
    output.show_one(session.call("GET", f"/keys/{key_id}"), session.as_json)


@key.command("delete")
@click.argument("key_id", type=int)
@click.pass_obj
def key_delete(session: Session, key_id: int) -> None:
    """Forget a key."""
    session.call("DELETE", f"/keys/{key_id}")


@click.group()
def token() -> None:
    """Your API tokens."""


@token.command("create")
@click.argument("name")
@click.option("--days", type=int, help="How long it lives; without it until it is deleted.")
@click.option("--scope", type=click.Choice(["read", "operate", "admin"]), help="What it may at most.")
@click.pass_obj
def token_create(session: Session, name: str, days: int | None, scope: str | None) -> None:
    """Create a token called NAME. It is shown only now."""
    answer = session.call("POST", "/tokens", {"name": name, "days": days, "scope": scope})
    if session.as_json:
        output.show_json(answer)
    else:
        click.echo(answer["token"])


@token.command("list")
@click.pass_obj
def token_list(session: Session) -> None:
    """List your tokens."""
    columns = {
        "id": "id",
        "name": "name",
        "begins": "prefix",
        "scope": "scope",
        "expires": "expires_at",
        "last used": "last_used_at",
    }
    output.show_list(session.pages("/tokens"), columns, session.as_json)


@token.command("show")
@click.argument("token_id", type=int)
@click.pass_obj
def token_show(session: Session, token_id: int) -> None:
    """See a token, without its text."""
    output.show_one(session.call("GET", f"/tokens/{token_id}"), session.as_json)


@token.command("delete")
@click.argument("token_id", type=int)
@click.pass_obj
def token_delete(session: Session, token_id: int) -> None:
    """End a token."""
    session.call("DELETE", f"/tokens/{token_id}")


@click.group("session")
def web_session() -> None:
    """Browsers in which you are signed in."""


@web_session.command("list")
@click.pass_obj
def session_list(session: Session) -> None:
    """List your web sessions."""
    columns = {"id": "id", "address": "address", "seen": "seen_at", "expires": "expires_at", "browser": "agent"}
    output.show_list(session.pages("/sessions"), columns, session.as_json)


@web_session.command("delete")
@click.argument("session_id", type=int)
@click.pass_obj
def session_delete(session: Session, session_id: int) -> None:
    """End a web session."""
    session.call("DELETE", f"/sessions/{session_id}")


@click.group()
def user() -> None:
    """People and programs that sign in."""


@user.command("list")
@click.pass_obj
def user_list(session: Session) -> None:
    """List users."""
    columns = {"id": "id", "name": "name", "role": "role", "active": "active"}
    output.show_list(session.pages("/users"), columns, session.as_json)


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]), default="operator", show_default=True)
@click.password_option()
@click.pass_obj
def user_add(session: Session, name: str, role: str, password: str) -> None:
    """Add a user."""
    answer = session.call("POST", "/users", {"name": name, "role": role, "password": password})
    output.show_one(answer, session.as_json, ("id", "name", "role"))


def _user_id(session: Session, name: str) -> int:
    for one in session.pages("/users"):
        if name in (one["name"], str(one["id"])):
            return int(one["id"])
    raise CliError(f"user {name!r} does not exist; see `muster user list`")


@user.command("show")
@click.argument("name")
@click.pass_obj
def user_show(session: Session, name: str) -> None:
    """See the user NAME."""
    output.show_one(session.call("GET", f"/users/{_user_id(session, name)}"), session.as_json)


@user.command("set")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]))
@click.option("--active/--no-active", default=None, help="Whether the account is open.")
@click.pass_obj
def user_set(session: Session, name: str, role: str | None, active: bool | None) -> None:
    """Change a role, close or reopen an account."""
    body = {key: value for key, value in (("role", role), ("active", active)) if value is not None}
    if not body:
        raise click.UsageError("say what to change; see --help")
    answer = session.call("PATCH", f"/users/{_user_id(session, name)}", body)
    output.show_one(answer, session.as_json, ("id", "name", "role", "active"))


@user.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def user_delete(session: Session, name: str, yes: bool) -> None:
    """Delete a user who owns no machine."""
    if not yes:
        click.confirm(f"Delete user {name}, with keys and tokens?", abort=True)
    session.call("DELETE", f"/users/{_user_id(session, name)}")


@user.command("passwd")
@click.argument("name", required=False)
@click.pass_obj
def user_passwd(session: Session, name: str | None) -> None:
    """Change your password, or NAME's as an administrator."""
    me = session.call("GET", "/session")["user"]
    chosen = me
    current = None
    if name is not None and name != me["name"]:
        chosen = next((one for one in session.pages("/users") if one["name"] == name), None)
        if chosen is None:
            raise click.UsageError(f"user {name!r} does not exist; see `muster user list`")
    else:
        current = click.prompt("Current password", hide_input=True)
    password = click.prompt("New password", hide_input=True, confirmation_prompt=True)
    session.call("PUT", f"/users/{chosen['id']}/password", {"password": password, "current": current})
    click.echo(f"The password of {chosen['name']} is changed; tokens go on, sessions have ended.")


user.add_command(create_user)
user.add_command(reset_user)
COMMANDS = (login, logout, whoami, key, token, web_session, user)
