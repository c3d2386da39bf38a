"""The page of the API: an OpenAPI document as HTML, which needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
:root { color-scheme: light dark }
code, pre { font: 0.9em/1.4 ui-monospace, monospace }
pre { overflow: auto; padding: 0.7rem; border: 1px solid #8886; border-radius: 0.4rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886 }
table { border-collapse: collapse } td { padding: 0.1rem 1rem 0.1rem 0; vertical-align: top }
"""


def reference_page(document: dict[str, Any]) -> str:
    """Return a page with every operation of an OpenAPI document."""
    info = document["info"]
    operations = "".join(
        _operation(document, path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    )
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<pre>{escape(json.dumps(schema, indent=2))}</pre></details>"
        for name, schema in document["components"]["schemas"].items()
    )
    title = escape(info["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: API</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style></head><body><main><h1>{title}: API</h1>"
        f"{_text(info['summary'])}{_text(info['description'])}"
        '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"{operations}<h2>Schemas</h2>{schemas}</main></body></html>\n"
    )


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    shared = document["paths"][path].get("parameters", [])
    parameters = [_resolved(document, each) for each in [*shared, *operation.get("parameters", [])]]
    body = _resolved(document, operation.get("requestBody", {}))
    answers = {status: _resolved(document, each) for status, each in operation["responses"].items()}
    return "".join(
        [
            f'<h2 id="{escape(operation["operationId"])}">{escape(operation["summary"])}</h2>',
            f"<p><code>{method.upper()} {escape(path)}</code></p>",
            _text(operation.get("description", "")),
            _table("Parameters", ((p["name"], p.get("description", "")) for p in parameters)),
            _table("Request", ((type, _schema_name(c)) for type, c in _content(body))),
            _table(
                "Replies",
                ((status, each.get("description", "")) for status, each in answers.items()),
            ),
        ]
    )


def _content(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from body.get("content", {}).items()


def _schema_name(content: dict[str, Any]) -> str:
    reference = content["schema"].get("$ref", "")
    return f"`{reference.rpartition('/')[2]}`" if reference else ""


def _resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference within the document refers to, or the value itself."""
    for part in value.get("$ref", "#").split("/")[1:]:
        document = document[part]
    return document if "$ref" in value else value


def _table(title: str, rows: Iterator[tuple[str, str]]) -> str:
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{_text(text)}</td></tr>"
        for name, text in rows
    )
    return f"<details><summary>{title}</summary><table>{lines}</table></details>" if lines else ""


def _text(markdown: str) -> str:
    """Return the HTML of the Markdown that the document uses: paragraphs, lists, code, bold."""
    blocks = re.split(r"\n{2,}", markdown.strip())
    return "".join(_block(block) for block in blocks if block)


def _block(block: str) -> str:
    if fenced := re.fullmatch(r"```\w*\n(.*?)\n?```", block, re.DOTALL):
        return f"<pre>{escape(fenced[1])}</pre>"
    if block.startswith("- "):
        items = block.removeprefix("- ").split("\n- ")
        return f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"
    return f"<p>{_inline(block)}</p>"


def _inline(text: str) -> str:
    code = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", code)
