"""Put a module in another's place and keep what is attached to it."""

from __future__ import annotations

from torch import nn


def replace_module(parent: nn.Module, name: str, new: nn.Module) -> None:
    """Replace the submodule `name` of `parent`; its forward hooks (runtime transforms) act on the new one.

    The hook tables are shared, not copied, so that handles of the old module's hooks still remove them.
    """
    old = parent.get_submodule(name)
    for table in (
        "_forward_hooks",
        "_forward_hooks_with_kwargs",
        "_forward_hooks_always_called",
        "_forward_pre_hooks",
        "_forward_pre_hooks_with_kwargs",
    ):
        setattr(new, table, getattr(old, table))
    new.train(old.training)
    owner, _, leaf = name.rpartition(".")
    setattr(parent.get_submodule(owner), leaf, new)
