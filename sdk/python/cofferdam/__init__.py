"""What a plugin in Python is made of: ``@tool``, ``plugin``, errors, log lines, configuration, progress.

It must not import what needs a grant: that is in ``cofferdam.http``, ``.kv``, ``.secrets`` and ``.tools``, and a component
asks only for what its ``pyproject.toml`` lists. Outside of a component all of it imports, too, so that tests of your own run
natively; only calls of the host fail there.
"""

from __future__ import annotations

import json as _json
import sys as _sys
from dataclasses import dataclass
from typing import Any, Callable

from . import _schema
from ._host import PluginError, ask, config, cancelled, imported, log, progress, to_host

__all__ = [
    "Context", "Output", "PluginError", "ask", "cancelled", "config", "json", "log", "plugin", "progress", "text", "tool",
]


@dataclass(frozen=True)
class Context:
    """Where in a run a call happens. A parameter of this type gets it."""

    run_id: str
    step_path: str
    attempt: int
    idempotency_key: str
    deadline_ms: int


@dataclass(frozen=True)
class Output:
    """A result in a form of its own, made by ``text`` and ``json``."""

    value: Any
    is_text: bool
    summary: str | None = None


def text(value: str, summary: str | None = None) -> Output:
    """A result that is text, not data."""
    return Output(str(value), True, summary)


def json(value: Any, summary: str | None = None) -> Output:
    """A result that is data, with what a model reads in its place."""
    return Output(value, False, summary)


@dataclass(frozen=True)
class Tool:
    """A function with what is said of it."""

    run: Callable[..., Any]
    name: str
    title: str | None
    description: str
    parameters: dict[str, Any]
    context: str | None
    input: dict[str, Any]
    output: dict[str, Any] | None
    effects: tuple[str, ...]
    examples: tuple[Any, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    input: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
    read_only: bool = False,
    destructive: bool = False,
    idempotent: bool = False,
    open_world: bool = False,
    examples: list[Any] | tuple[Any, ...] = (),
) -> Any:
    """Makes a tool of a function: its comment is what a model reads, its hints are the schema.

    Hints may be ``str``, ``int``, ``float``, ``bool``, ``None``, ``Any``, ``list[...]``, ``dict[str, ...]``, ``Literal[...]``, unions of
    them, dataclasses, and ``Annotated[hint, "description"]``. With ``input`` the function gets the whole object as its
    one argument instead.
    """

    def make(function: Callable[..., Any]) -> Tool:
        signature = _schema.read(function, Context, input)
        flags = {"READ_ONLY": read_only, "DESTRUCTIVE": destructive, "IDEMPOTENT": idempotent, "OPEN_WORLD": open_world}
        said = description if description is not None else (function.__doc__ or "")
        return Tool(
            run=function,
            name=name or function.__name__,
            title=title,
            description="\n".join(line.strip() for line in said.strip().splitlines()),
            parameters=signature.parameters,
            context=signature.context,
            input=signature.input,
            output=output if output is not None else signature.output,
            effects=tuple(flag for flag, holds in flags.items() if holds),
            examples=tuple(examples),
        )

    return make if function is None else make(function)


def plugin(
    *,
    id: str,
    tools: list[Tool],
    version: str = "0.1.0",
    summary: str = "",
    config_schema: dict[str, Any] | None = None,
) -> tuple[type, type]:
    """The exports of a plugin: ``Lifecycle, Tool = plugin(id=..., tools=[...])``, at the top of your module."""
    by_name = {}
    for one in tools:
        if not isinstance(one, Tool):
            raise TypeError(f"`{getattr(one, '__name__', one)}` is no tool: write `@tool` above it")
        by_name[one.name] = one

    class Lifecycle:
        def describe(self) -> Any:
            schema = None if config_schema is None else _json.dumps(config_schema)
            lifecycle = imported("exports.lifecycle")
            return lifecycle.Description(id=id, version=version, summary=summary, config_schema=schema)

    class Exported:
        def list_tools(self) -> list[Any]:
            return [_definition(one) for one in tools]

        def call(self, ctx: Any, name: str, args: str) -> Any:
            _reseed()
            try:
                if name not in by_name:
                    raise PluginError("not-found", f"there is no tool `{name}`")
                return _output(_call(by_name[name], ctx, _json.loads(args)))
            except PluginError as error:
                raise to_host(error) from None
            except Exception as error:
                raise to_host(_fault(error)) from None

    return Lifecycle, Exported


def _definition(one: Tool) -> Any:
    exported = imported("exports.tool")
    effects = exported.Effects(0)
    for flag in one.effects:
        effects |= exported.Effects[flag]
    return exported.ToolDef(
        name=one.name,
        title=one.title,
        description=one.description,
        input_schema=_json.dumps(one.input),
        output_schema=None if one.output is None else _json.dumps(one.output),
        effects=effects,
        examples=[_json.dumps(_schema.plain(example)) for example in one.examples],
    )


def _call(one: Tool, ctx: Any, args: dict[str, Any]) -> Any:
    given = {} if one.context is None else {one.context: _context(ctx)}
    if one.parameters.get("*") is not None:
        return one.run(args, **given)
    for name, value in args.items():
        given[name] = _schema.build(one.parameters[name], value)
    return one.run(**given)


def _context(ctx: Any) -> Context:
    return Context(ctx.run_id, ctx.step_path, ctx.attempt, ctx.idempotency_key, ctx.deadline)


def _output(value: Any) -> Any:
    common, exported = imported("imports.common"), imported("exports.tool")
    if isinstance(value, (bytes, bytearray)):
        return exported.ToolOutput(value=common.Payload_Bytes(bytes(value)), summary=None)
    given = value if isinstance(value, Output) else json(value)
    if given.is_text:
        return exported.ToolOutput(value=common.Payload_Text(given.value), summary=given.summary)
    encoded = _json.dumps(_schema.plain(given.value), ensure_ascii=False, allow_nan=False)
    return exported.ToolOutput(value=common.Payload_Json(encoded), summary=given.summary)


def _fault(error: Exception) -> PluginError:
    """Anything else that was raised is a fault of the plugin. The trace is for its author."""
    where, trace = [], error.__traceback__
    while trace is not None:
        where.append(f"{trace.tb_frame.f_code.co_name} in line {trace.tb_lineno}")
        trace = trace.tb_next
    log.debug(f"{type(error).__name__}: {error}; {' > '.join(where)}")
    return PluginError("internal", f"{type(error).__name__}: {error}")


def _reseed() -> None:
    """The state of ``random`` was made when the component was built; each call would draw the same numbers."""
    if "random" in _sys.modules:
        _sys.modules["random"].seed()
