"""Values of this plugin alone, kept in the granted scope. ``pyproject.toml`` lists it: ``imports = ["kv"]``. Values are JSON."""

from __future__ import annotations

import json as _json
from dataclasses import dataclass
from typing import Any, Iterator

from ._host import ask, extra

_kv = extra("kv")


@dataclass(frozen=True)
class Entry:
    """One stored value. ``version`` changes with every write."""

    key: str
    value: Any
    version: int


def get(key: str, default: Any = None) -> Any:
    """The value of a key."""
    found = entry(key)
    return default if found is None else found.value


def entry(key: str) -> Entry | None:
    """The value of a key with its version."""
    found = ask(lambda: _kv.get_many([key]))[0]
    return None if found is None else _entry(found)


def put(key: str, value: Any, *, ttl_ms: int | None = None, version: int | None = None, absent: bool = False) -> int:
    """Writes a value and gives its version; ``conflict`` when another version is stored, or any and ``absent`` is said."""
    return _commit(_kv.Write(key, _json.dumps(value).encode(), ttl_ms, _when(version, absent)))


def delete(key: str, *, version: int | None = None) -> None:
    """Forgets a key."""
    _commit(_kv.Write(key, None, None, _when(version, False)))


def scan(prefix: str, page_size: int = 100) -> Iterator[Entry]:
    """All keys with a prefix, in order."""
    cursor = None
    while True:
        page = ask(lambda: _kv.scan(prefix, cursor, page_size))
        yield from (_entry(found) for found in page.entries)
        cursor = page.next
        if cursor is None:
            return


def _entry(found: Any) -> Entry:
    return Entry(found.key, _json.loads(found.value), found.version)


def _when(version: int | None, absent: bool) -> Any:
    if version is not None:
        return _kv.Precondition_Version(version)
    return _kv.Precondition_Absent() if absent else _kv.Precondition_None_()


def _commit(write: Any) -> int:
    return ask(lambda: _kv.commit([write]))[0]
