"""Secrets without seeing them. ``pyproject.toml`` lists it: ``imports = ["secrets"]`` under ``[tool.cofferdam]``."""

from __future__ import annotations

from ._host import ask, extra

_secrets = extra("secrets")


def exists(name: str) -> bool:
    """Whether the secret is granted and has a value."""
    return ask(lambda: _secrets.exists(name))


def placeholder(name: str) -> str:
    """A stand-in: where the grant allows it, an outgoing request gets the value in its place."""
    return ask(lambda: _secrets.placeholder(name))
