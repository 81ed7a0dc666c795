"""What is known of the inside of the model at one place of the text."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Inside:
    """A position as the layers see it."""

    text: str
    """What the model reads up to the position, its character included (T)."""
    attention: Sequence[Sequence[Sequence[float]]]
    """(n_layer, n_head, T): how much of what the position read came from each character."""
    ladder: Sequence[Sequence[tuple[str, float]]]
    """(n_layer + 1): the likeliest next characters as of the embedding, then layer by layer."""

    @property
    def n_layer(self) -> int:
        """How many layers there are to choose from."""
        return len(self.attention)

    @property
    def n_head(self) -> int:
        """How many heads each layer has."""
        return len(self.attention[0])

    def weights(self, layer: int, head: int | None) -> list[float]:
        """Where a head looked, or on the mean all heads of the layer (None).

        >>> inside = Inside("ab", [[[1.0, 0.0], [0.5, 0.5]]], [])
        >>> inside.weights(0, 1), inside.weights(0, None)
        ([0.5, 0.5], [0.75, 0.25])
        """
        heads = self.attention[layer]
        if head is not None:
            return list(heads[head])
        return [sum(column) / len(heads) for column in zip(*heads, strict=True)]
