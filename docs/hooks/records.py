"""Generates the page on results and bundles: the text of `results.md` and a table for each pydantic model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from superbench.results.result import Result

PROSE = Path(__file__).with_name("results.md")
MARK = "<!-- tables -->"


def page() -> str:
    """Returns the page on `result.json`, `predictions.jsonl.gz` and bundles."""
    schema = Result.model_json_schema(by_alias=True)
    tables = [_table("Result", schema), *(_table(name, part) for name, part in schema["$defs"].items())]
    return PROSE.read_text().replace(MARK, "\n".join(tables))


def _table(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = [
        f"| `{key}` | {_type(part)} | {_bounds(part)} | {'yes' if key in required else ''} |"
        for key, part in schema["properties"].items()
    ]
    text = " ".join(schema.get("description", "").split())
    text = re.sub(r"([<>\[\]*_|])", r"\\\1", text) if "`" not in text else text
    return "\n".join([f"### {name}", "", text, "", "| field | type | bounds | required |", "|---|---|---|---|", *rows, ""])


def _type(part: dict[str, Any]) -> str:
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in part:
        return " or ".join(_type(option) for option in part["anyOf"])
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return " or ".join(f"`{value}`" for value in part["enum"])
    type_name = part.get("type", "any")
    if type_name == "array":
        inner = part.get("prefixItems") or ([part["items"]] if part.get("items") else [])
        return "list of " + ", ".join(dict.fromkeys(_type(entry) for entry in inner)) if inner else "list"
    if type_name == "object" and isinstance(part.get("additionalProperties"), dict):
        return f"object: name → {_type(part['additionalProperties'])}"
    return str(type_name)


def _bounds(part: dict[str, Any]) -> str:
    return "; ".join(_bound(part))


def _bound(part: dict[str, Any]) -> Iterator[str]:
    low, high = part.get("minimum"), part.get("maximum")
    if low is not None and high is not None:
        yield f"{low:g} to {high:g}"
    elif low is not None:
        yield f"at least {low:g}"
    for key, word in (("maxLength", "characters"), ("maxItems", "entries"), ("maxProperties", "names")):
        if key in part:
            yield f"at most {part[key]} {word}"
    for option in part.get("anyOf", ()):
        yield from _bound(option)
