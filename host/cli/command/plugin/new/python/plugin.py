"""A tool: what models and steps call. Each call has a fresh instance."""

from dataclasses import dataclass
from typing import Annotated

from cofferdam import plugin, tool


@dataclass
class Counts:
    """The result."""

    words: int


# The comment is all that a model reads about the tool; the hints are its schema: what does not fit never arrives.
@tool(read_only=True, idempotent=True, examples=[{"text": "two words"}])
def count(text: Annotated[str, "The text to count in."]) -> Counts:
    """Counts the words of a text."""
    return Counts(words=len(text.split()))


Lifecycle, Tool = plugin(id="acme/__NAME__", summary="Counts words", tools=[count])
