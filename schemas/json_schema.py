"""JSON Schemas of all streams, generated from the dataclasses and the contracts' checks.

``python -m schemas.json_schema`` writes ``schemas/json/<stream>.v1.json``. A test fails when a file differs from
the generated schema, so the published contract equals the enforced one.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

from schemas.records import counts
from schemas.topics import STRING, TOPICS, Check, Topic

FOLDER = Path(__file__).parent / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TYPES: dict[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"
}  # fmt: skip


def _property(annotation: Any, check: Check | None) -> dict[str, Any]:
    members = [a for a in typing.get_args(annotation) if a is not type(None)]
    optional = len(members) < len(typing.get_args(annotation)) and typing.get_origin(annotation) is not dict
    base = members[0] if optional else (typing.get_origin(annotation) or annotation)
    kind = _TYPES[typing.get_origin(base) or base]
    schema: dict[str, Any] = {"type": [kind, "null"] if optional else kind}
    if check is not None:
        bounds = {"minimum": check.low, "maximum": check.high, "maxLength": check.max_len}
        schema |= {word: bound for word, bound in bounds.items() if bound is not None}
        if check.type == STRING and check.min_len:
            schema["minLength"] = check.min_len
        if check.characters is not None:
            schema["pattern"] = f"^(?:{check.characters.pattern}){'' if check.required else '?'}$"
        if check.values:
            schema["enum"] = [*check.values, None] if optional else list(check.values)
    return schema


def record_schema(record: type, checks: tuple[Check, ...] = ()) -> dict[str, Any]:
    """Return the JSON Schema of a dataclass.

    Unknown fields are allowed, so that records of a newer writer stay readable.

    Parameters
    ----------
    record : a dataclass.
    checks : checks of single fields; their bounds become schema keywords.
    """
    by_name = {check.field: check for check in checks}
    hints = typing.get_type_hints(record)
    fields = dataclasses.fields(record)
    return {
        "type": "object",
        "description": (record.__doc__ or "").strip().split("\n\n")[0],
        "properties": {f.name: _property(hints[f.name], by_name.get(f.name)) for f in fields},
        "required": [
            f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ],
    }


def topic_schema(topic: Topic) -> dict[str, Any]:
    """Return the published schema of a stream."""
    schema = record_schema(topic.record, topic.checks)
    if topic.record is counts.CellBatch:
        facts = [TOPICS[name] for name in ("offers", "stock", "catalog", "covariates")]
        schema["properties"]["rows"]["items"] = {
            "anyOf": [record_schema(counts.Cell), *(record_schema(t.record, t.checks) for t in facts)]
        }
    return {"$schema": DIALECT, "$id": f"{topic.topic}.json", "title": topic.topic, **schema}


def main() -> None:
    """Write the schema files of all streams."""
    FOLDER.mkdir(exist_ok=True)
    for topic in TOPICS.values():
        path = FOLDER / f"{topic.name}.v1.json"
        path.write_text(json.dumps(topic_schema(topic), indent=2) + "\n")


if __name__ == "__main__":
    main()
