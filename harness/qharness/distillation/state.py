"""The state of a training between epochs, on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qharness.results.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Adam

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class Progress:
    """Where a training is.

    Attributes:
        before: Held-out loss at the start.
        best: Smallest held-out loss so far.
        best_epoch: Its epoch; 0 is the start.
        epoch: Finished epochs.
    """

    before: float
    best: float
    best_epoch: int = 0
    epoch: int = 0


def save_state(
    path: Path,
    progress: Progress,
    leaves: Mapping[str, nn.Parameter],
    kept: Mapping[str, Tensor],
    optimizer: Adam,
) -> None:
    """Write the state after an epoch: what is trained, the best of it, and Adam's moments."""
    from safetensors.torch import save_file

    tensors = {f"leaf/{name}": leaf.detach() for name, leaf in leaves.items()}
    tensors |= {f"kept/{name}": tensor for name, tensor in kept.items()} if progress.best_epoch else {}
    for name, leaf in leaves.items():
        tensors |= {f"{key}/{name}": optimizer.state[leaf][key] for key in MOMENTS if leaf in optimizer.state}
    ready = {name: tensor.cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, partial(save_file, ready, metadata={"progress": json.dumps(asdict(progress))}))


def load_state(
    path: Path, leaves: Mapping[str, nn.Parameter], optimizer: Adam
) -> tuple[Progress, dict[str, Tensor]] | None:
    """Put a state back; return where it was and the best tensors (none if the start was best), or None without one."""
    import torch
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - safe_open is no mapping
            progress = Progress(**json.loads(file.metadata()["progress"]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):
        return None
    with torch.no_grad():
        for name, leaf in leaves.items():
            leaf.copy_(found[f"leaf/{name}"])
            if f"step/{name}" in found:
                moments = {key: found[f"{key}/{name}"] for key in MOMENTS}
                optimizer.state[leaf] = {
                    key: value if key == "step" else value.to(leaf.device) for key, value in moments.items()
                }
    kept = {key.removeprefix("kept/"): tensor for key, tensor in found.items() if key.startswith("kept/")}
    return progress, kept
