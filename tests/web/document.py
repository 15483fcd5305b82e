"""Reads a page as a browser's parser would: well-formedness, texts, forms, and what a content security policy forbids."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
# What may not stand inside a <p>: a browser would close the paragraph silently.
BLOCKS = frozenset({"div", "dl", "form", "h1", "h2", "ol", "p", "pre", "section", "table", "ul", "details"})
# After these, as after blocks, the next text stands apart.
CELLS = frozenset({"td", "th", "tr", "li", "dt", "dd"})


@dataclass
class Element:
    """An element with its attributes and all the text below it."""

    name: str
    attributes: dict[str, str]
    parts: list[str] = field(default_factory=list)
    inside: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text, with every run of white space as one blank."""
        return " ".join("".join(self.parts).split())


class Document(HTMLParser):
    """A parsed page. faults: sentences about what is not well-formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.faults: list[str] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{one.name}> is never closed" for one in self._open]
        ids = [one.attributes["id"] for one in self.elements if "id" in one.attributes]
        self.faults += [f"id {one} is used twice" for one in sorted({one for one in ids if ids.count(one) > 1})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.faults.append(f"<{tag}> has an attribute twice: {names}")
        if tag in BLOCKS and any(one.name == "p" for one in self._open):
            self.faults.append(f"<{tag}> inside <p>")
        if tag == "form" and any(one.name == "form" for one in self._open):
            self.faults.append("<form> inside <form>")
        element = Element(
            tag, {name: value or "" for name, value in attrs}, inside=tuple(one.name for one in self._open)
        )
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1].name != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1].name if self._open else 'nothing'}")
            return
        self._open.pop()
        if tag in BLOCKS | CELLS:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for one in self._open:
            one.parts.append(data)

    def all(self, name: str, /, **attributes: str) -> list[Element]:
        """Elements of this name with these attributes (`class_` for class, as one of its words)."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [
            one
            for one in self.elements
            if one.name == name
            and all(
                value in one.attributes.get(key, "").split() if key == "class" else one.attributes.get(key) == value
                for key, value in wanted.items()
            )
        ]

    def one(self, name: str, /, **attributes: str) -> Element:
        """The only element like this."""
        found = self.all(name, **attributes)
        assert 1 == len(found), f"{len(found)} <{name}> with {attributes}"
        return found[0]

    def verbs(self) -> set[str]:
        """The verbs that can be asked on a machine's page."""
        actions = [one.attributes.get("action", "") for one in self.all("form")]
        return {action.rpartition("/")[2] for action in actions if "/ask/" in action}

    def forbidden(self) -> list[str]:
        """What `script-src 'self'; style-src 'self'` would block."""
        found = []
        for one in self.elements:
            found += [f"<{one.name} {name}>" for name in one.attributes if name == "style" or name.startswith("on")]
            found += [
                f"<{one.name} hx-on>" for name in one.attributes if name.startswith(("hx-on", "hx-vals", "hx-vars"))
            ]
            found += ["<style>"] if one.name == "style" else []
            if one.name == "script" and (one.text or not one.attributes.get("src", "").startswith("/static/")):
                found.append("<script> that is not a file of ours")
            for name in ("href", "src", "action", "hx-post"):
                if not one.attributes.get(name, "/").startswith(("/", "#")):
                    found.append(f"{name}={one.attributes[name]}")
        return found
