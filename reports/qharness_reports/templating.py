"""The Jinja environment: autoescape on, undefined names are errors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def fill(template: str, **context: Any) -> Markup:
    """Return a filled template."""
    return Markup(_environment().get_template(template).render(**context))


def asset(name: str) -> str:
    """Return the style sheet or the script as text."""
    return (TEMPLATES / name).read_text(encoding="utf-8")
