"""Write the table of settings in ``operations.md`` from :class:`jobs.runtime.settings.Settings`.

``python -m infra.docs.settings_table`` (part of ``make schemas``) replaces the lines between the two markers. With
``--check`` it writes nothing and returns exit code 1 if the table is not current.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from jobs.runtime.settings import Settings

PAGE = Path(__file__).with_name("operations.md")
FIRST = "<!-- settings: written by `make schemas` -->"
LAST = "<!-- end of settings -->"
PREFIX = str(Settings.model_config.get("env_prefix", ""))
SIGNS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
COMPUTED = {
    "home": "`.walras`",
    "policy": "`infra/config/policy.yaml` beside the code",
    "replay_workers": "one per core",
}
"""Defaults that depend on the machine or the folder of the code."""
UNDESCRIBED = {
    "edge_host": "address on which the edge service listens",
    "edge_port": "port of the edge service; the local platform chooses a free one",
}
"""Meaning of the settings whose field has no description."""


def default_text(name: str, field: FieldInfo) -> str:
    """Return a setting's default as Markdown."""
    if name in COMPUTED:
        return COMPUTED[name]
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return "none" if value is None else f"`{value}`"


def range_text(field: FieldInfo) -> str:
    """Return the bounds of a setting, or an empty text.

    >>> range_text(Settings.model_fields["edge_port"]), range_text(Settings.model_fields["kafka"])
    ('≥ 0, ≤ 65535', '')
    """
    bounds = [(sign, getattr(each, name, None)) for each in field.metadata for name, sign in SIGNS]
    return ", ".join(f"{sign} {bound}" for sign, bound in bounds if bound is not None)


def settings_table() -> str:
    """Return the table: one row per setting, in the order of the class, and then those of its bases."""
    lines = ["| variable | default | range | meaning |", "|---|---|---|---|"]
    fields = sorted(Settings.model_fields.items(), key=lambda item: item[0] not in Settings.__annotations__)
    for name, field in fields:
        meaning = field.description or UNDESCRIBED[name]
        lines.append(
            f"| `{PREFIX}{name.upper()}` | {default_text(name, field)} | {range_text(field)} | {meaning} |"
        )
    return "\n".join(lines)


def with_table(page: str) -> str:
    """Return the page with the current table between the markers.

    Raises
    ------
    ValueError
        If the page lacks a marker.
    """
    before, found, rest = page.partition(FIRST)
    _, ended, after = rest.partition(LAST)
    if not found or not ended:
        raise ValueError(f"expected the markers {FIRST!r} and {LAST!r} in the page")
    return f"{before}{FIRST}\n{settings_table()}\n{LAST}{after}"


def main(arguments: Sequence[str]) -> int:
    """Write the table; with ``--check`` return 1 if it is not current."""
    page = PAGE.read_text(encoding="utf-8")
    text = with_table(page)
    if "--check" in arguments:
        if text != page:
            print(f"{PAGE}: the table of settings is not current; run `make schemas`")
        return int(text != page)
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote the table of settings in {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
