"""Settings of the whole installation, boot images, and the places and tags that machines belong to."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template

from app.identity import current_context
from app.services import images, placement, settings
from app.services.errors import NotFound
from app.web.forms import Answer, Field, Form, done

LARGEST = 2**53
WORDS = ("zone", "pool", "tag")
BACK = ("/settings", "Settings")
TITLES = {
    "enrolment_policy": "Let unknown machines report themselves",
    "dns_forwarders": "DNS servers to ask",
    "ntp_upstreams": "Time servers to follow",
    "network_discovery": "Let networks appear by themselves",
    "kernel_options": "Kernel options of machines",
    "proxy": "Package proxy of machines",
    "rollout": "How changes go to many racks",
    "dnssec_validation": "Validation of DNS answers",
    "rack_keys": "When racks make new keys by themselves",
    "retention": "What is kept, and how long",
}
SUBJECTS = ("on", "servers", "mode", "options")
"""Keys that stand for the whole setting, so that they go by its title."""
LABELS = {
    "omapi_days": "Days that a key for ISC dhcpd is used (OMAPI)",
    "external_only": "Tell machines only these",
    "mode": "Mode",
    "url": "URL",
    "wave_percent": "Racks of a wave, in percent of all",
    "wave_racks": "Racks of a wave, as a number (0: by percent)",
    "pause_seconds": "Seconds between two waves",
}
CHOICES = {"proxy": settings.PROXY_MODES, "dnssec_validation": settings.VALIDATION}
HELP = {
    "enrolment_policy": "A machine that boots from the network in a served subnet is then added as New.",
    "dns_forwarders": "Addresses apart by blanks. Racks ask them about names that are not Muster's.",
    "ntp_upstreams": "Names or addresses apart by blanks.",
    "rollout": "Of a hundred racks so many are a wave, unless a number of racks is given; one rack goes before all.",
    "proxy": "built-in: the racks; peer: the racks, through the parent proxy at the URL; external: the one at the URL.",
    "rack_keys": "0: only when somebody asks. ISC dhcpd starts again for a new key; Kea has none.",
    "kernel_options": "Apart by blanks. For the ephemeral system, and for what is installed from now on.",
    "network_discovery": "Fabrics, VLANs and subnets that racks and machines report are shown; nothing is served there yet.",
}


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    both = ["GET", "POST"]
    blueprint.add_url_rule("/settings", "setting_list", setting_list)
    blueprint.add_url_rule("/settings/<name>", "setting_edit", setting_edit, methods=both)
    blueprint.add_url_rule("/settings/images/new", "image_new", image_new, methods=both)
    blueprint.add_url_rule("/places/<word>/new", "place_new", place_new, methods=both)
    rule = f"/places/<word>/<int(max={LARGEST}):place_id>"
    blueprint.add_url_rule(f"{rule}/edit", "place_edit", place_edit, methods=both)
    blueprint.add_url_rule(f"{rule}/delete", "place_delete", place_delete, methods=both)


def setting_list() -> str:
    """All settings, images, zones, pools and tags."""
    context = current_context()
    shown = settings.show(context)
    return render_template(
        "settings.html",
        context=context,
        settings=[(name, TITLES.get(name, name), _words(value)) for name, value in shown.items()],
        images=images.find(context, limit=500),
        places=[(word, placement.find(context, word, limit=500)) for word in WORDS],
    )


def setting_edit(name: str) -> Answer:
    """Change one setting."""
    context = current_context()
    context.require("admin", "change settings")
    shown = settings.show(context)
    if name not in shown:
        raise NotFound(f"setting {name!r} does not exist; there are {', '.join(shown)}")
    value = shown[name]
    label = TITLES.get(name, name)
    # The first key of most settings is what they are about; the others say more of it.
    fields = tuple(_field(name, key, one, first=number == 0) for number, (key, one) in enumerate(value.items()))

    def call(given: dict[str, Any]) -> Answer:
        said = {key: given["value" if number == 0 else key] for number, key in enumerate(value)}
        settings.change(form.seen(context), name, said)
        return done("/settings", "The setting was changed; every rack is looked at again.")

    form = Form(label, "Save", BACK, fields, of=settings.SettingValue(name, value))
    return form.run(context, call)


def _field(name: str, key: str, value: Any, first: bool) -> Field:
    """The form's field of one key of a setting, by what kind of value it has."""
    kind = {bool: "check", list: "words", int: "number"}.get(type(value), "text")
    choices = tuple((one, one) for one in CHOICES[name]) if key == "mode" else ()
    label = TITLES.get(name, name) if first and key in SUBJECTS else LABELS.get(key, key.replace("_", " ").capitalize())
    kind = "choice" if choices else kind
    return Field(
        "value" if first else key, label, kind, value, HELP.get(name, "") if first else "", choices=choices, empty=""
    )


def image_new() -> Answer:
    """Take in a built image."""
    context = current_context()
    context.require("admin", "import images")
    words = "A folder on the control plane's host that `python -m workers.region.images build` has made."
    fields = (Field("path", "Folder", value="/var/cache/muster/", required=True, help=words, empty="/"),)

    def call(given: dict[str, Any]) -> Answer:
        row = images.import_folder(context, given["path"])
        return done("/settings", f"{row.name} was imported and is the current one of its name.")

    return Form("Import a boot image", "Import", BACK, fields).run(context, call)


def place_new(word: str) -> Answer:
    """Add a zone, a pool or a tag."""
    context = current_context()
    kind = _kind(word)
    context.require(kind.role, f"create {word}s")
    fields = (Field("name", "Name", required=True, empty=""), Field("note", kind.note.capitalize(), empty=""))

    def call(given: dict[str, Any]) -> Answer:
        row = placement.create(context, word, **given)
        return done("/settings", f"{word.capitalize()} {row.name} was added.")

    return Form(f"Add a {word}", f"Add {word}", BACK, fields).run(context, call)


def place_edit(word: str, place_id: int) -> Answer:
    """Rename a zone, a pool or a tag, or say something else about it."""
    context = current_context()
    kind = _kind(word)
    context.require(kind.role, f"change {word}s")
    row = placement.get(context, word, place_id)
    fields = (
        Field("name", "Name", value=row.name, required=True, empty=""),
        Field("note", kind.note.capitalize(), value=row.note, empty=""),
    )

    def call(given: dict[str, Any]) -> Answer:
        placement.update(form.seen(context), word, place_id, **given)
        return done("/settings", f"{word.capitalize()} {given['name']} was changed.")

    form = Form(f"Edit {word} {row.name}", "Save", BACK, fields, of=row)
    return form.run(context, call)


def place_delete(word: str, place_id: int) -> Answer:
    """Remove a zone, a pool or a tag."""
    context = current_context()
    context.require(_kind(word).role, f"delete {word}s")
    row = placement.get(context, word, place_id)
    intro = "Its machines lose it." if word == "tag" else "Machines must have left it before."
    form = Form(f"Delete {word} {row.name}?", f"Delete {word}", BACK, intro=intro, danger=True)

    def call(given: dict[str, Any]) -> Answer:
        placement.delete(context, word, place_id)
        return done("/settings", f"{word.capitalize()} {row.name} was deleted.")

    return form.run(context, call)


def _kind(word: str) -> placement.Kind:
    if word not in placement.KINDS:
        raise NotFound(f"there are no {word!r}; machines belong to {', '.join(WORDS)}s")
    return placement.KINDS[word]


def _words(value: dict[str, Any]) -> str:
    if "on" in value:
        return "yes" if value["on"] else "no"
    if "servers" in value:
        only = " (machines are told only these)" if value.get("external_only") else ""
        return (", ".join(str(one) for one in value["servers"]) or "none") + only
    if "options" in value:
        return " ".join(value["options"]) or "none"
    if "mode" in value:
        return " ".join(str(one) for one in value.values() if one)
    return ", ".join(f"{key.replace('_', ' ')} {one}" for key, one in value.items())
