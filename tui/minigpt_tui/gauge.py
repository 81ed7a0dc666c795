"""What a run has come to, in numbers."""

from dataclasses import dataclass

from minigpt_tui.document import Document
from minigpt_tui.protocol import Tokens


@dataclass(frozen=True, slots=True)
class Gauge:
    """Of the last run, live while it goes on; every number in it is measured."""

    window: int = 0
    """Tokens the model had in view last."""
    n_slides: int = 0
    """How often the window was full and slid."""
    n_tokens: int = 0
    first_token_s: float | None = None
    """None before the first token."""
    tokens_per_s: float = 0.0
    """0 before the second token."""

    @classmethod
    def of_text(cls, document: Document) -> "Gauge":
        """Before a run: what the model had in view where the text ends, if it has written there."""
        origin = document.origin(len(document) - 1) if len(document) else None
        return cls(window=origin.window if origin else 0)

    def after(self, batch: Tokens) -> "Gauge":
        """With the next tokens of the run."""
        first = batch.elapsed_s if self.first_token_s is None else self.first_token_s
        n_tokens, seconds = self.n_tokens + len(batch.tokens), batch.elapsed_s - first
        return Gauge(
            window=batch.tokens[-1].window,
            n_slides=self.n_slides + sum(token.slid for token in batch.tokens),
            n_tokens=n_tokens,
            first_token_s=first,
            tokens_per_s=(n_tokens - 1) / seconds if seconds > 0 else self.tokens_per_s,
        )
