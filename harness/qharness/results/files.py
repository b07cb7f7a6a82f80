"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

TEMPORARY = ".tmp-"


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    Args:
        path: Where the file shall appear; missing parents are created.
        write: Writes the content to the temporary path it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, readable by people; NaN and infinities are refused."""
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def read_json(path: Path, default: Any = None) -> Any:
    """Read JSON, or return the default if the file does not exist."""
    if not path.exists():
        return default
    return json.loads(path.read_text(encoding="utf-8"))


def folder_name(name: str) -> str:
    """Return a single path component for any name, so that no name leaves its folder."""
    safe = quote(name, safe="+-_@=, ")
    if safe.startswith("."):
        return safe.replace(".", "%2E")
    return safe or "%"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
