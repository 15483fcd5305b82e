"""`muster repository`: where installed systems take their packages from."""

from __future__ import annotations

from app.cli.resource import FLAG, TEXT, TEXTS, Kind, make

OPTIONS = (
    ("os", TEXT, "System that gets it; debian unless told otherwise."),
    ("main", FLAG, "Whether it stands in for all of the image's own sources."),
    ("enabled", FLAG, "Whether machines get it."),
    ("suites", TEXTS, "Suite; $RELEASE is the installed release."),
    ("components", TEXTS, "Component; main unless told otherwise."),
    ("architectures", TEXTS, "Architecture of the machines that get it; all unless told otherwise."),
    ("key", TEXT, 'Armored OpenPGP public key, as in "$(cat key.asc)".'),
)
REPOSITORY = Kind(
    "repository",
    "Package repositories of installed systems.",
    ("id", "name", "url", "os", "main", "enabled", "suites", "components"),
    ("name", "url"),
    OPTIONS,
    (("name", TEXT, "Name."), ("url", TEXT, "Where it is."), *OPTIONS),
    path="/package-repositories",
)
COMMANDS = (make(REPOSITORY),)
