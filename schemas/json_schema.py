"""JSON Schemas of every stream, made from the dataclasses and the contract's checks.

``python -m schemas.json_schema`` writes ``schemas/json/<record>.v1.json``; a test fails when they are
stale, so that the published contract and the judged one cannot drift apart.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

from schemas import events
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


def of_record(record: type, checks: tuple[Check, ...] = ()) -> dict[str, Any]:
    """JSON Schema of a dataclass; unknown fields are allowed, so that a newer writer stays readable."""
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


def of_topic(topic: Topic) -> dict[str, Any]:
    """The published schema of a stream."""
    schema = of_record(topic.record, topic.checks)
    if topic.record is events.CellBatch:
        facts = [TOPICS[name] for name in ("offers", "stock", "catalog")]
        schema["properties"]["rows"]["items"] = {
            "anyOf": [of_record(events.Cell), *(of_record(t.record, t.checks) for t in facts)]
        }
    return {"$schema": DIALECT, "$id": f"{topic.topic}.json", "title": topic.topic, **schema}


def main() -> None:
    """Write every schema file."""
    FOLDER.mkdir(exist_ok=True)
    for topic in TOPICS.values():
        path = FOLDER / f"{topic.name}.v1.json"
        path.write_text(json.dumps(of_topic(topic), indent=2) + "\n")


if __name__ == "__main__":
    main()
