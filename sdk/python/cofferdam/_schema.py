"""Hints as JSON Schema, and data as what the hints say. It must not know the host."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from dataclasses import dataclass
from typing import Any, Callable, Literal, Union

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


@dataclass(frozen=True)
class Signature:
    """What a function takes and gives."""

    parameters: dict[str, Any]
    context: str | None
    input: dict[str, Any]
    output: dict[str, Any] | None


def read(function: Callable[..., Any], context_type: type, given: dict[str, Any] | None) -> Signature:
    """The schemas of a function. Raises ``TypeError`` for a hint that has none, naming the parameter."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = dict(inspect.signature(function).parameters)
    context = next((name for name in parameters if hints.get(name) is context_type), None)
    parameters.pop(context, None) if context else None
    where = f"`{function.__name__}`"
    output = None
    if (result := hints.get("return")) is not None and _is_data(result):
        output = schema(result, f"the result of {where}")
    if given is not None:
        return Signature({"*": dict}, context, given, output)
    properties, required = {}, []
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"parameter `{name}` of {where} cannot be named in a call")
        if name not in hints:
            raise TypeError(f"parameter `{name}` of {where} has no type hint")
        properties[name] = schema(hints[name], f"parameter `{name}` of {where}")
        if parameter.default is parameter.empty:
            required.append(name)
        else:
            properties[name]["default"] = plain(parameter.default)
    return Signature({name: hints[name] for name in properties}, context, _object(properties, required), output)


def _is_data(hint: Any) -> bool:
    """Results may also be text, bytes or chosen at run time: those have no schema."""
    if hint in (Any, bytes, bytearray, type(None)) or getattr(hint, "__module__", "") == "cofferdam":
        return False
    return True


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def schema(hint: Any, where: str) -> dict[str, Any]:
    """The JSON Schema of a hint."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        found = schema(arguments[0], where)
        words = [word for word in arguments[1:] if isinstance(word, str)]
        extra = [more for more in arguments[1:] if isinstance(more, dict)]
        for more in extra:
            found.update(more)
        return {**found, "description": " ".join(words)} if words else found
    if hint is Any:
        return {}
    if isinstance(hint, type) and hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema(argument, where) for argument in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if hint is list or origin is list:
        return {"type": "array", **({"items": schema(arguments[0], where)} if arguments else {})}
    if hint is dict or (origin is dict and arguments[0] is str):
        return {"type": "object", **({"additionalProperties": schema(arguments[1], where)} if arguments else {})}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    if dataclasses.is_dataclass(hint):
        return _of_dataclass(hint, where)
    raise TypeError(f"{where}: `{hint}` has no schema; use another hint, or give the schema with `input=` or `output=`")


def _of_dataclass(hint: Any, where: str) -> dict[str, Any]:
    hints = typing.get_type_hints(hint, include_extras=True)
    properties, required = {}, []
    for field in dataclasses.fields(hint):
        properties[field.name] = schema(hints[field.name], f"{where}, field `{field.name}`")
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(field.name)
    return _object(properties, required)


def build(hint: Any, value: Any) -> Any:
    """Data that fits the schema, as what the hint says: objects become dataclasses."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return build(arguments[0], value)
    if origin in (Union, types.UnionType):
        chosen = next((argument for argument in arguments if _fits(argument, value)), None)
        return value if chosen is None else build(chosen, value)
    if origin is list and arguments:
        return [build(arguments[0], item) for item in value]
    if origin is dict and arguments:
        return {key: build(arguments[1], item) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        return hint(**{name: build(hints[name], item) for name, item in value.items()})
    return float(value) if hint is float else value


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value is of the kind of a hint. Of two dataclasses the one with the given fields."""
    hint = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    base = typing.get_origin(hint) or hint
    if dataclasses.is_dataclass(base):
        return isinstance(value, dict) and set(value) <= {field.name for field in dataclasses.fields(base)}
    if base is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if base is int and isinstance(value, bool):
        return False
    return isinstance(base, type) and isinstance(value, base)


def plain(value: Any) -> Any:
    """What JSON can say: dataclasses become objects, enums their values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
