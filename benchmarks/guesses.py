"""How much faster do guesses make a text, and is it the same?

Each file writes the same text in each round without guesses, with those of its own table, and with
those learned from the text so far; the ratios are medians of the rounds' ratios. "alone" reads a
token a pass, as other runtimes do; where rows of logits depend on that, "without" is the way that
writes the same text as guesses do (see `minigpt/runtime/reader.py`).

    minigpt export checkpoints/book --onnx int8.onnx --precision int8
    python -m benchmarks.guesses [MODEL ...] [--temperature 0.8] [--tokens 1500] [--rounds 7]
"""

import argparse
import statistics
import time

from minigpt.runtime.draft import Draft
from minigpt.runtime.generation import generate
from minigpt.runtime.library import find_model, load
from minigpt.runtime.model import Model
from minigpt.runtime.params import SamplingParams


def timed_text(model: Model, draft: Draft | None, params: SamplingParams) -> tuple[float, str]:
    """Seconds for a text, and the text."""
    began = time.perf_counter()
    stream = generate(
        model.decoder, model.tokenizer, model.tokenizer.start, lambda: params, draft=draft
    )
    text = "".join(token.text for token in stream)
    return time.perf_counter() - began, text


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=[None], help="default: the shipped model")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--tokens", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    params = SamplingParams(temperature=arguments.temperature, max_new_tokens=arguments.tokens)
    for name in arguments.models:
        model = load(find_model(name))
        ways = ("alone", "without", "table", "text so far")
        seconds: dict[str, list[float]] = {each: [] for each in ways}
        for _ in range(arguments.rounds):
            # the last is new each time, or it would know the text from the round before
            drafts = {"without": Draft.idle(), "table": model.draft, "text so far": Draft({})}
            seconds["alone"].append(timed_text(model, None, params)[0])
            texts = set()
            for each, draft in drafts.items():
                taken, text = timed_text(model, draft, params)
                seconds[each].append(taken)
                texts.add(text)
            if len(texts) > 1:
                raise SystemExit(f"{model.path.name}: guesses have changed the text")
        print(
            f"{model.path.name}: {model.card.precision}, {arguments.tokens} tokens at temperature "
            f"{arguments.temperature}, {arguments.rounds} rounds, the same text each time"
        )
        for each, found in seconds.items():
            speed = arguments.tokens / statistics.median(found)
            ratios = [a / b for a, b in zip(seconds["without"], found, strict=True)]
            print(f"  {each:12}{speed:8,.0f} tokens/s   {statistics.median(ratios):.2f} x without",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
