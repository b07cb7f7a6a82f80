"""Train the embedded model: ``python -m qharness_demo.train --checkpoint DIR --out DIR`` (7 minutes on one H100).

Stops at the time limit with a checkpoint; the same command goes on from there, on the same stream of documents.
The loss curve is written as CSV.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from . import MODEL_DIR


def schedule(step: int, steps: int, warmup: int = 200, cooldown: float = 0.5) -> float:
    """Factor of the learning rate: linear warm-up, plateau, linear decay to 2 % over the last steps."""
    if step < warmup:
        return (step + 1) / warmup
    left = (steps - step) / (steps * cooldown)
    return max(0.02, min(1.0, left))


def weight_noise(matrices: Any, level: float, seed: int) -> list[Any]:
    """Add Gaussian noise of `level` times each row's root mean square to the matrices; returns what was added."""
    import torch

    if level == 0.0:
        return []
    params = [p for _, p in matrices]
    generator = torch.Generator(params[0].device).manual_seed(seed)
    added = []
    with torch.no_grad():
        for p in params:
            rms = p.pow(2).mean(1, keepdim=True).sqrt()
            added.append(torch.randn(p.shape, generator=generator, device=p.device) * (level * rms))
        torch._foreach_add_(params, added)
    return added


def remove(matrices: Any, noise: list[Any]) -> None:
    """Take the noise off again, so that the update applies to the clean weights."""
    import torch

    if noise:
        with torch.no_grad():
            torch._foreach_sub_([p for _, p in matrices], noise)


def save_state(folder: Path, tensors: dict[str, Any], meta: dict[str, Any], limit: int = 12_000_000) -> None:
    """Write tensors into safetensors files below `limit` bytes and then, last, the meta file that makes them valid."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    part: dict[str, Any] = {}
    size, number = 0, 0
    for name, tensor in [*tensors.items(), ("", None)]:
        bytes_ = 0 if tensor is None else tensor.numel() * tensor.element_size()
        if part and (tensor is None or size + bytes_ > limit):
            temporary = folder / f"state-{meta['step']}-{number}.tmp"
            save_file(part, str(temporary))
            os.replace(temporary, temporary.with_suffix(".safetensors"))
            part, size, number = {}, 0, number + 1
        if tensor is not None:
            part[name] = tensor.detach().contiguous().cpu()
            size += bytes_
    temporary = folder / "meta.tmp"
    temporary.write_text(json.dumps(meta | {"files": number}))
    os.replace(temporary, folder / "meta.json")
    for old in folder.glob("state-*.safetensors"):
        if not old.name.startswith(f"state-{meta['step']}-"):
            old.unlink()


def load_state(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The tensors and the meta data of a checkpoint, or None."""
    from safetensors.torch import load_file

    path = folder / "meta.json"
    if not path.exists():
        return None
    meta = json.loads(path.read_text())
    tensors: dict[str, Any] = {}
    for number in range(meta["files"]):
        tensors |= load_file(str(folder / f"state-{meta['step']}-{number}.safetensors"))
    return tensors, meta


def export(network: Any, out: Path, tokenizer: Path) -> None:
    """Write the network as a bfloat16 MistralForCausalLM with its tokenizer."""
    import torch
    from transformers import AutoTokenizer, GenerationConfig, MistralConfig, MistralForCausalLM

    model = MistralForCausalLM(MistralConfig(**network.shape.config()))
    missing = model.load_state_dict(
        {k: v.detach().float().cpu() for k, v in network.state_dict().items()}, strict=False
    )
    assert not missing.missing_keys and not missing.unexpected_keys, missing
    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=1, pad_token_id=1, do_sample=False)
    model.save_pretrained(str(out), max_shard_size="4400KB")
    AutoTokenizer.from_pretrained(str(tokenizer)).save_pretrained(str(out))


def train(args: argparse.Namespace) -> bool:
    """Train until the last step or the time limit; True when finished."""
    import torch

    from .network import Network, Shape, loss_of
    from .optimizer import Muon, split
    from .shards import stream

    began = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    network = Network(Shape(num_hidden_layers=args.layers)).to(device)
    matrices, rest = split(network)
    muon = Muon(matrices)
    adam = torch.optim.AdamW(
        rest, lr=args.adam_lr, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0, fused=device == "cuda"
    )
    start, curve = 0, []
    saved = load_state(args.checkpoint)
    if saved is not None:
        tensors, meta = saved
        network.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("w:")})
        for name in muon.state:
            muon.state[name].copy_(tensors["m:" + name].float())
        for i, p in enumerate(rest):
            if f"a:{i}:0" in tensors:
                state = {"exp_avg": tensors[f"a:{i}:0"], "exp_avg_sq": tensors[f"a:{i}:1"], "step": tensors[f"a:{i}:2"]}
                adam.state[p] = {
                    k: v.to(device if k != "step" or device == "cuda" else "cpu") for k, v in state.items()
                }
        start, curve = meta["step"], meta["curve"]
    run: Any = torch.compile(network) if device == "cuda" and not args.eager else network

    def checkpoint(step: int) -> None:
        tensors = {"w:" + k: v for k, v in network.state_dict().items()}
        tensors |= {"m:" + k: v.bfloat16() for k, v in muon.state.items()}
        for i, p in enumerate(rest):
            if p in adam.state:
                tensors |= {f"a:{i}:{j}": adam.state[p][k] for j, k in enumerate(("exp_avg", "exp_avg_sq", "step"))}
        save_state(args.checkpoint, tensors, {"step": step, "curve": curve})

    per_shard = args.rows // args.batch
    count = -(-args.steps // per_shard)
    first = start // per_shard
    step = first * per_shard
    finished = False
    total = torch.zeros((), device=device)
    marked = time.monotonic()
    for shard in stream(
        args.tokenizer, args.seed, first, count, args.rows, args.length, int(count * args.ramp), args.workers
    ):
        rows = torch.from_numpy(shard.astype("int32"))
        if device == "cuda":
            rows = rows.pin_memory().to(device, non_blocking=True)
        for b in range(per_shard):
            if step < start or step >= args.steps:
                step += step < start
                continue
            factor = schedule(step, args.steps)
            noise = weight_noise(
                matrices, args.noise * min(1.0, max(0.0, 2.5 * step / args.steps - 0.5)), args.seed * 1_000_003 + step
            )
            with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
                loss, plain = loss_of(run, rows[b * args.batch : (b + 1) * args.batch].long(), args.answer_weight)
            loss.backward()
            remove(matrices, noise)
            muon.step(args.muon_lr * factor)
            for group in adam.param_groups:
                group["lr"] = args.adam_lr * factor
            adam.step()
            network.zero_grad(set_to_none=False)
            total += plain
            step += 1
            if step % args.log == 0:
                mean = total.item() / args.log
                total.zero_()
                now = time.monotonic()
                speed = args.log * args.batch * args.length / (now - marked)
                marked = now
                curve.append([step, round(mean, 4), round(factor, 3)])
                print(
                    f"step {step}/{args.steps} loss {mean:.4f} lr {factor:.3f} {speed / 1e6:.2f} Mtok/s "
                    f"{now - began:.0f} s",
                    flush=True,
                )
        finished = step >= args.steps
        if finished or time.monotonic() - began > args.time_limit:
            break
    if not finished or args.keep_checkpoint:
        checkpoint(step)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "loss_curve.csv").write_text("step,loss,lr_factor\n" + "".join(f"{s},{v},{f}\n" for s, v, f in curve))
    export(network, args.out, args.tokenizer)
    print("finished" if finished else f"stopped at step {step}; run again to go on", flush=True)
    return finished


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", type=Path, default=Path("demo-checkpoint"))
    p.add_argument("--out", type=Path, default=MODEL_DIR)
    p.add_argument("--tokenizer", type=Path, default=MODEL_DIR)
    p.add_argument("--time-limit", type=float, default=1200.0, help="seconds after which to stop with a checkpoint")
    p.add_argument("--steps", type=int, default=8200)
    p.add_argument("--seed", type=int, default=2026)
    p.add_argument("--layers", type=int, default=10)
    p.add_argument("--batch", type=int, default=128, help="rows a step")
    p.add_argument("--rows", type=int, default=8192, help="rows a shard")
    p.add_argument("--length", type=int, default=768, help="tokens a row")
    p.add_argument("--ramp", type=float, default=0.3, help="share of the run over which the curriculum grows")
    p.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    p.add_argument("--muon-lr", type=float, default=0.015)
    p.add_argument("--adam-lr", type=float, default=2e-3)
    p.add_argument("--answer-weight", type=float, default=5.0)
    p.add_argument(
        "--noise",
        type=float,
        default=0.11,
        help="weight noise relative to each row's scale, so that 2 bits damage but need not destroy",
    )
    p.add_argument("--log", type=int, default=100)
    p.add_argument("--eager", action="store_true", help="without torch.compile")
    p.add_argument("--keep-checkpoint", action="store_true", help="write the checkpoint also at the end")
    return p


if __name__ == "__main__":
    train(parser().parse_args())
