"""Forms: what a page asks for, how it is read, and how a refusal is shown at the field that it is about.

A form parses shape only; whether the values are right is for the service to say.  Everything works without scripts: a
form is a page of its own, a refusal is that page again with what was typed, success leads on and says what was done.
A form that changes a thing sends all of it, so it carries the version that it was made of: what another person has changed
meanwhile is not overwritten unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request
from werkzeug.wrappers import Response

from app.identity import current_context
from app.services import versions
from app.services.context import Context
from app.services.errors import Changed, Invalid, ServiceError, Unauthorized

LARGEST = 2**53
Choices = tuple[tuple[str, str], ...]
Answer = Response | str | tuple[str, int]


@dataclass(frozen=True)
class Field:
    """One thing asked for. kind: text, number, password, area, choice, check or words (several, apart by blanks).

    choices: value and label of each.  number: a choice whose value is a number.  empty: what nothing typed means.
    """

    name: str
    label: str
    kind: str = "text"
    value: Any = ""
    help: str = ""
    required: bool = False
    choices: Choices = ()
    number: bool = False
    empty: Any = None
    autocomplete: str = "off"

    @property
    def id(self) -> str:
        """The id of its element."""
        return "field-" + self.name.replace(".", "-")

    @property
    def shown(self) -> str:
        """The value as text."""
        if self.kind == "words" and not isinstance(self.value, str):
            return " ".join(str(one) for one in self.value or ())
        return "" if self.value is None else str(self.value)

    def read(self) -> Any:
        """What was typed. Invalid when it is no number and should be one."""
        if self.kind == "check":
            return self.name in request.form
        text = request.form.get(self.name, "")
        text = text if self.kind == "password" else text.strip()
        if self.kind == "words":
            return text.replace(",", " ").split()
        if not text:
            return self.empty
        if self.kind == "number" or self.number:
            if not text.isdecimal() or len(text) > 15:
                raise Invalid(f"{self.label} {text!r}: write a whole number", field=self.name, rule="a whole number")
            return int(text)
        return text

    def typed(self) -> Field:
        """The same field with what was typed; passwords are not given back."""
        if self.kind == "check":
            return replace(self, value=self.name in request.form)
        return self if self.kind == "password" else replace(self, value=request.form.get(self.name, ""))


@dataclass(frozen=True)
class Form:
    """A page that asks. back: where one came from, and its name; danger: what is done cannot be taken back.

    watch: where what is typed is sent meanwhile; the answer is shown below the fields.  of: the thing that it changes.
    shown: the version that a page which was refused for another reason has shown, which stays the one that was looked at.
    """

    title: str
    submit: str
    back: tuple[str, str]
    fields: tuple[Field, ...] = ()
    intro: str = ""
    danger: bool = False
    watch: str = ""
    of: Any = None
    shown: str | None = None

    @property
    def version(self) -> str | None:
        """The version of the thing that it changes; None when it changes none."""
        return self.shown or versions.of(self.of)

    def seen(self, context: Context) -> Context:
        """The context for changing what the sent page has shown, and nothing newer."""
        version = request.form.get("version")
        return replace(context, expected=frozenset({version})) if self.version and version else context

    def show(self, context: Context, refusal: ServiceError | None = None) -> str:
        """The page."""
        names = {one.name for one in self.fields}
        return render_template(
            "form.html",
            context=context,
            form=self,
            refusal=refusal,
            wrong=refusal.field if refusal is not None and refusal.field in names else None,
        )

    def run(self, context: Context, call: Callable[[dict[str, Any]], Answer]) -> Answer:
        """The page, or (when it was sent) what `call` makes of the values; refused, the page with the reason."""
        if request.method != "POST":
            return self.show(context)
        try:
            return call({one.name: one.read() for one in self.fields})
        except Unauthorized:
            raise
        except ServiceError as error:
            refusal, shown = error, request.form.get("version") if self.version else None
            if isinstance(error, Changed):
                refusal, shown = _in_words_of_pages(error), None
            typed = replace(self, fields=tuple(one.typed() for one in self.fields), shown=shown)
            return typed.show(context, refusal), refusal.status


def ask(form: Form, role: str, doing: str, call: Callable[[Context, dict[str, Any]], tuple[str, str]]) -> Answer:
    """Run a form for callers of a role; `call` answers where to go and what to say."""
    context = current_context()
    context.require(role, doing)
    return form.run(context, lambda given: done(*call(form.seen(context), given)))


def _in_words_of_pages(refusal: Changed) -> Changed:
    """Somebody was faster: what people at a page can do about it, which the API says in the words of HTTP."""
    remedy = "open it in another window to see what it says now, then save this again if that is still what you want"
    return Changed(str(refusal), rule="what nobody has seen is not overwritten", remedy=remedy)


def removal(what: str, back: tuple[str, str], intro: str) -> Form:
    """A form that asks whether something should be deleted."""
    return Form(f"Delete {what}?", f"Delete {what}", back, intro=intro, danger=True)


def both(blueprint: Blueprint, path: str, view: Callable[..., Answer]) -> None:
    """Add a form's page, which is asked for and sent to. `#` in the path begins the name of a number."""
    blueprint.add_url_rule(path.replace("#", f"int(max={LARGEST}):"), view.__name__, view, methods=["GET", "POST"])


def done(path: str, said: str) -> Response:
    """Lead on to a page that says what was done."""
    flash(said)
    return redirect(path, 303)


def after_id(name: str = "after") -> int:
    """The id that a page of a list begins after; 0 at the first page."""
    text = request.args.get(name, "0")
    if not text.isdecimal() or len(text) > 15:
        raise Invalid(
            f"{name} {text[:64]!r} is not the id that a page begins after; start at the first page", field=name
        )
    return int(text)


def choices(rows: list[Any], label: str = "name", key: str = "id") -> Choices:
    """Rows as choices."""
    return tuple((str(getattr(row, key)), str(getattr(row, label))) for row in rows)


def names(values: list[str] | tuple[str, ...]) -> Choices:
    """Words as choices."""
    return tuple((one, one) for one in values)
