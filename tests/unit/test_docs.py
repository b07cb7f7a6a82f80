"""The documentation names every hook, record and field that the code has."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import is_typeddict

import pytest

from qharness import hookspecs, records
from qharness.results import schema, shape

DOCS = Path(__file__).parents[2] / "docs"
HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("qharness_")}
OFFERED = [kind for kind in vars(records).values() if dataclasses.is_dataclass(kind)]


def sections(page: str, level: str = "###") -> dict[str, str]:
    """Return the text under each heading of that level, by the heading without backticks."""
    parts = re.split(rf"^{level} ", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].replace("`", ""): part.partition("\n")[2].partition("\n## ")[0] for part in parts}


def test_every_hook_has_a_section_with_its_arguments():
    expected = {f"{name}({', '.join(inspect.signature(hook).parameters)})" for name, hook in HOOKS.items()}
    documented = {heading for heading in sections("writing-a-plugin.md") if heading.startswith("qharness_")}
    assert documented == expected


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_every_hook_has_a_docstring_with_an_example_of_itself(name):
    doc = inspect.getdoc(HOOKS[name]) or ""
    source = re.search(r"```python\n(.*?)```", doc, re.DOTALL)
    assert source, f"{name} has no example"
    compile(inspect.cleandoc(source[1]), name, "exec")
    signature = f"def {name}({', '.join(inspect.signature(HOOKS[name]).parameters)})"
    assert signature in source[1]


@pytest.mark.parametrize("record", OFFERED, ids=lambda record: record.__name__)
def test_every_record_is_documented_field_by_field(record):
    named = [text for text in sections("writing-a-plugin.md").values() if f"`{record.__name__}`" in text]
    assert named, f"{record.__name__} is in no section on a hook"
    missing = [f.name for f in dataclasses.fields(record) if not any(f"`{f.name}`" in text for text in named)]
    assert missing == []


@pytest.mark.parametrize("record", OFFERED, ids=lambda record: record.__name__)
def test_documented_fields_exist(record):
    """A field that is gone from a record must go from the sentence that lists its fields."""
    text = next(t for t in sections("writing-a-plugin.md").values() if f"`{record.__name__}`" in t)
    listed = re.search(rf"`{record.__name__}`: (.*?)(?:\.\s[A-Z`]|\.\n\n|\.\n*$)", text, re.DOTALL)
    if listed is None:
        return
    plain = re.sub(r"\([^()]*\)", "", listed[1])
    names = re.findall(r"`([a-z_]+)`", plain)
    known = {f.name for kind in OFFERED for f in dataclasses.fields(kind)}
    assert [name for name in names if name not in known] == []


TABLES = {
    **{n: [f.name for f in dataclasses.fields(k)] for n, k in vars(schema).items() if dataclasses.is_dataclass(k)},
    **{n: list(k.__annotations__) for n, k in vars(shape).items() if is_typeddict(k)},
}  # fmt: skip


def test_every_schema_type_has_a_table_with_exactly_its_fields():
    documented = {
        heading: re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
        for heading, text in sections("results-schema.md").items()
    }
    assert documented == TABLES


def test_every_field_has_a_meaning():
    for text in sections("results-schema.md").values():
        for row in re.findall(r"^\| `.*$", text, re.MULTILINE):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
            assert len(cells) == 3 and all(cells), row


def test_the_version_and_the_commands_of_the_schema_page_exist():
    page = (DOCS / "results-schema.md").read_text(encoding="utf-8")
    from qharness.cli.group import COMMANDS

    for command in re.findall(r"`qharness (\w+)", page):
        assert command in COMMANDS
