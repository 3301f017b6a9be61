"""Other tools of the run. ``pyproject.toml`` lists it: ``imports = ["tools"]`` under ``[tool.cofferdam]``."""

from __future__ import annotations

import json as _json
from typing import Any

from ._host import ask, extra

_tools = extra("tools")


def invoke(name: str, args: dict[str, Any] | None = None) -> Any:
    """Calls a granted tool, named as in documents; gives data, text or bytes, as the tool did."""
    payload = ask(lambda: _tools.invoke(name, _json.dumps(args or {})))
    return _json.loads(payload.value) if type(payload).__name__ == "Payload_Json" else payload.value
