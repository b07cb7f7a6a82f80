"""The page: sections in order, one style sheet, one script, one content security policy."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qharness.errors import PluginError, Unwritable
from qharness.records import ReportSection
from qharness_reports.sections import BUILTIN
from qharness_reports.templating import asset, fill
from qharness_reports.views.provenance import headings
from qharness_reports.views.verdicts import headline

DATA_KEYS = (
    "run",
    "notice",
    "configurations",
    "tasks",
    "averages",
    "retention",
    "summary",
    "verdicts",
    "rules",
    "artifacts",
    "kernels",
    "failures",
)


@dataclass(frozen=True)
class RenderedSection:
    """A section that has something to say."""

    name: str
    title: str
    body: Markup


def render_page(comparison: Mapping[str, Any], sections: Sequence[ReportSection]) -> str:
    """Return the whole document."""
    script = asset("report.js")
    title, facts = headings(comparison)
    return str(
        fill(
            "page.html.j2",
            title=title,
            facts=facts,
            headline=headline(comparison),
            notice=comparison.get("notice", ""),
            sections=_render_sections(comparison, sections),
            style=Markup(asset("report.css")),
            script=Markup(script),
            data=script_safe_json({key: comparison[key] for key in DATA_KEYS if key in comparison}),
            policy=content_policy(script),
        )
    )


def _render_sections(comparison: Mapping[str, Any], sections: Sequence[ReportSection]) -> list[RenderedSection]:
    chosen = {section.name: section for section in (*BUILTIN, *sections)}
    rendered = []
    for section in sorted(chosen.values(), key=lambda s: (s.order, s.name)):
        try:
            body = Markup(section.render(comparison))
        except Exception as error:
            raise PluginError(
                f"Report section '{section.name}' failed: {type(error).__name__}: {error}; "
                f"disable the plugin that offers it with `-p no:NAME`."
            ) from error
        if body:
            rendered.append(RenderedSection(section.name, section.title, body))
    return rendered


def content_policy(script: str) -> str:
    """Return a policy under which nothing is fetched and no script but ours runs, whatever a section contains."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def script_safe_json(data: Any) -> Markup:
    """Return JSON that cannot end a script element or start a comment; NaN becomes null, keys are sorted."""
    text = json.dumps(_finite(data), ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data


def write_page(comparison: Mapping[str, Any], path: Path, sections: Sequence[ReportSection]) -> None:
    """Render, write beside the target, and rename."""
    document = render_page(comparison, sections)
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    except OSError as error:
        raise Unwritable(
            f"The report cannot be written to '{target}': {error}; choose another place with -o."
        ) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(document)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Unwritable(
                f"The report cannot be written to '{target}': {error}; choose another place with -o."
            ) from error
        raise
