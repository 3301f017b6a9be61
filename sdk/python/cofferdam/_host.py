"""The way to the host: what every plugin may call, and errors both ways. Nothing of it is there outside of a component."""

from __future__ import annotations

import importlib
import json
from typing import Any, Callable

KINDS = (
    "invalid-input", "not-found", "conflict", "denied", "auth-required", "rate-limited", "timeout", "unavailable",
    "cancelled", "too-large", "unsupported", "internal", "other",
)


class PluginError(Exception):
    """A failure that a tool reports on purpose, or that the host answered with. ``kind`` says what the caller does next."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
        detail: Any = None,
    ) -> None:
        if kind not in KINDS:
            raise TypeError(f"`{kind}` is no kind of error; the kinds are: {', '.join(KINDS)}")
        super().__init__(message)
        self.kind, self.message, self.code = kind, message, code
        self.retryable, self.retry_after_ms, self.detail = retryable, retry_after_ms, detail


# All of it is loaded while the component is built: what is not loaded then cannot be loaded later.
_LOADED: dict[str, Any] = {}
for _name in ("imports.common", "imports.log", "imports.config", "imports.run_control", "exports.lifecycle", "exports.tool"):
    try:
        _LOADED[_name] = importlib.import_module(f"wit_world.{_name}")
    except ImportError:
        pass
try:
    _Err: Any = importlib.import_module("componentize_py_types").Err
except ImportError:
    _Err = None


def imported(name: str) -> Any:
    """A module of the contract."""
    if name not in _LOADED:
        raise RuntimeError("there is no host outside of a component")
    return _LOADED[name]


def extra(name: str) -> Any:
    """A module of the contract that ``pyproject.toml`` has to list; none outside of a component."""
    try:
        return importlib.import_module(f"wit_world.imports.{name}")
    except ImportError:
        if _Err is None:
            return None
        listed = name.replace("_", "-")
        message = f'write `imports = ["{listed}"]` under `[tool.cofferdam]` in pyproject.toml to use `cofferdam.{name}`'
        raise ImportError(message) from None


def ask(call: Callable[[], Any]) -> Any:
    """Calls the host, and raises its refusals as ``PluginError``."""
    if _Err is None:
        raise RuntimeError("there is no host outside of a component")
    try:
        return call()
    except _Err as refused:
        raise from_host(refused.value) from None


def from_host(told: Any) -> PluginError:
    """An answer of the host as an error of ours."""
    return PluginError(
        told.kind.name.lower().replace("_", "-"),
        told.message,
        code=told.code,
        retryable=told.retryable,
        retry_after_ms=told.retry_after_ms,
        detail=None if told.detail is None else json.loads(told.detail),
    )


def to_host(error: PluginError) -> Exception:
    """An error of ours as the contract wants it."""
    common = imported("imports.common")
    told = common.PluginError(
        kind=common.ErrorKind[error.kind.upper().replace("-", "_")],
        code=error.code,
        message=error.message,
        retryable=error.retryable,
        retry_after_ms=error.retry_after_ms,
        detail=None if error.detail is None else json.dumps(error.detail),
    )
    return _Err(told)


class _Log:
    """Lines for the log of the run: ``log.info("found it", lines=3)``. Outside of a component they go nowhere."""

    def _write(self, level: str, message: str, fields: dict[str, Any]) -> None:
        if "imports.log" in _LOADED:
            module = _LOADED["imports.log"]
            module.log(module.Level[level], str(message), [(key, str(value)) for key, value in fields.items()])

    def trace(self, message: str, **fields: Any) -> None:
        self._write("TRACE", message, fields)

    def debug(self, message: str, **fields: Any) -> None:
        self._write("DEBUG", message, fields)

    def info(self, message: str, **fields: Any) -> None:
        self._write("INFO", message, fields)

    def warn(self, message: str, **fields: Any) -> None:
        self._write("WARN", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        self._write("ERROR", message, fields)


log = _Log()


def config() -> dict[str, Any]:
    """What the user configured, valid for ``config_schema``; ``{}`` if nothing."""
    return json.loads(imported("imports.config").get())


def cancelled() -> bool:
    """Whether the run or the step is being cancelled. For long loops."""
    return imported("imports.run_control").is_cancelled()


def progress(message: str, fraction: float | None = None, data: Any = None) -> None:
    """Says how far the call is; ``fraction`` from 0 to 1 if known."""
    encoded = None if data is None else json.dumps(data)
    imported("imports.run_control").progress(str(message), fraction, encoded)
