"""Free generation in the comparison: mean metrics and a few texts to read."""

from __future__ import annotations

from qharness.results.measured import Measured
from qharness.results.shape import FreeExample, FreeText


def free_text(measured: Measured, examples: int = 6) -> FreeText | None:
    """Return the free generation of a configuration, or None if it was not measured.

    Args:
        measured: The configuration.
        examples: How many texts to show; the first of each register come first.
    """
    scores = measured.of("free")
    if not scores:
        return None
    documents = scores[0].documents
    found: list[FreeExample] = [
        {
            "id": str(documents.doc_id[i]),
            "register": str(documents.cluster[i]),
            "prompt": str(documents.gold[i]),
            "text": str(documents.response[i]),
        }
        for i in range(len(documents))
    ]
    seen: dict[str, int] = {}
    ranked = []
    for example in found:
        rank = seen.get(example["register"], 0)
        seen[example["register"]] = rank + 1
        ranked.append((rank, example))
    ranked.sort(key=lambda pair: pair[0])
    metrics = {score.identity.metric: score.result.value for score in scores}
    return {"metrics": metrics, "examples": [example for _, example in ranked[:examples]]}
