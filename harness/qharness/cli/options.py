"""Options that several commands share, and the host they ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from qharness.errors import UsageError
from qharness.host import Host

ABLATE_HELP = (
    "Evaluate also without this runtime transform, or part of it: r4, r3:q_post_rope, r4@layers=3,5-6, r4@channels=25%."
)

F = TypeVar("F", bound=Callable[..., Any])


def compose(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator that applies all of them, the first outermost."""

    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


plugin_switch = click.option(
    "-p", "switches", multiple=True, metavar="no:NAME", help="Do not load the installed plugin NAME."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
runs_option = click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Folder of all runs."
)
seed_option = click.option("--seed", type=int, default=0, show_default=True, help="Seed of the quantization.")
model_option = click.option(
    "--model", "model", default=None, metavar="REF", help="Hub id, folder, artifact or GGUF file. [default: demo]"
)
device_options = compose(
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, or auto."),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        show_default=True,
        help="Type of the activations; auto is float32 on a CPU and bfloat16 on a GPU.",
    ),
)
set_option = click.option(
    "--set", "settings", multiple=True, metavar="PLUGIN.OPTION=VALUE", help="Set an option of a quantizer."
)
calibration_options = compose(
    click.option(
        "--text",
        "texts",
        multiple=True,
        metavar="SOURCE",
        help="Calibration text: file:PATH, hub:ID or demo. [default: demo for the demo model]",
    ),
    click.option("--calibration-samples", type=int, default=None, help="Calibration sequences."),
    click.option("--calibration-length", type=int, default=None, help="Tokens of each calibration sequence."),
    click.option(
        "--hessians",
        type=click.Path(path_type=Path),
        default=None,
        help="Folder written by `qharness hessians`; must belong to the same model.",
    ),
)
calibrations_option = click.option(
    "--calibration",
    "calibrations",
    multiple=True,
    metavar="NAME=SOURCE",
    help="Quantize once for each NAME, with its text; repeated for one NAME, its texts are joined.",
)
seeds_option = click.option(
    "--seeds", type=int, default=1, show_default=True, help="Quantize so many times, with seeds from --seed up."
)
evaluation_options = compose(
    click.option("--suite", "suites", multiple=True, metavar="NAME", help="Suite of tasks; may be repeated."),
    click.option(
        "--tasks", default="", metavar="NAME[,NAME]", help="Measure these data sets or tasks alone. [default: all]"
    ),
    click.option(
        "--data",
        default=None,
        metavar="hub|embedded|DIR",
        help="Benchmark data. [default: embedded for the demo model, else hub]",
    ),
    click.option(
        "--num-fewshot",
        default=None,
        metavar="N[,N]",
        help="Shots in the prompt, each measured. [default: the suite's]",
    ),
    click.option("--limit", type=int, default=None, help="Documents per task. [default: all]"),
    click.option("--engine", default="hf", show_default=True, help="What executes the model."),
    click.option("--executor", default="inline", show_default=True, help="Where jobs run: inline, local or ray."),
    click.option("--workers", type=int, default=0, help="Workers of the executor. [default: one a GPU or a core]"),
    click.option(
        "--ray-address",
        default="",
        metavar="ADDRESS",
        help="Existing Ray cluster. [default: RAY_ADDRESS, else one is started here]",
    ),
    click.option(
        "--chunk-tokens",
        type=int,
        default=32768,
        show_default=True,
        help="Tokens of work that workers get at a time; a task with several times as many is shared among them.",
    ),
    click.option(
        "--kernels",
        type=click.Choice(["auto", "reference", "triton"]),
        default="auto",
        show_default=True,
        help="Which kernels serve quantized linears.",
    ),
    click.option("--ablate", multiple=True, metavar="TRANSFORM", help=ABLATE_HELP),
    click.option(
        "--kv-bits",
        type=click.Choice(["16", "8", "4", "2"]),
        default="16",
        show_default=True,
        help="Width of the key-value cache.",
    ),
    click.option(
        "--kv-prefill",
        type=click.Choice(["invisible", "visible"]),
        default="invisible",
        show_default=True,
        help="Whether the tokens of a prompt read each other from a quantized cache (visible) or exactly (invisible).",
    ),
    click.option(
        "--perplexity",
        multiple=True,
        metavar="TEXT",
        help="Measure the perplexity of wikitext2, c4, wikipedia_pl, file:PATH, hub:ID or demo; may be repeated.",
    ),
    click.option("--apply-chat-template", "chat_template", is_flag=True, help="Send prompts as chat messages."),
    click.option("--system", default=None, metavar="TEXT", help="System prompt; needs --apply-chat-template."),
)


def evaluators_option(default: str) -> Callable[[F], F]:
    """Return the option that chooses evaluators, with a command's own default."""
    return click.option("--evaluators", default=default, show_default=True, help="Comma-separated evaluators.")


USUAL_EVALUATORS = "mc,gen,decode_ll,free"


def host_from(switches: tuple[str, ...]) -> Host:
    """Return the host without the plugins that `-p no:NAME` names.

    Raises:
        UsageError: A switch is not of that form.
    """
    blocked = []
    for switch in switches:
        if not switch.startswith("no:"):
            raise UsageError(f"`-p {switch}` is not understood; write `-p no:NAME` to disable the plugin NAME.")
        blocked.append(switch.removeprefix("no:"))
    return Host(blocked=blocked)
