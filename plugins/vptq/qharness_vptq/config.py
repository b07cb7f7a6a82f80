"""The quantization_config of public VPTQ checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qharness.artifacts.public import quantization_of
from qharness.errors import CorruptArtifact

if TYPE_CHECKING:
    from qharness_vptq.layout import Layout

METHOD = "vptq"


def is_public(reference: str) -> bool:
    """Return whether a reference is a local folder with a VPTQ checkpoint."""
    return quantization_of(reference).get("quant_method") == METHOD


def layer_config(layout: Layout, size: tuple[int, int], *, norm: bool, permuted: bool, bias: bool) -> dict[str, Any]:
    """Return the entry of one linear.

    Args:
        layout: Sizes of its codebooks.
        size: (out_features, in_features).
        norm: Whether columns have a scale and a bias.
        permuted: Whether columns are stored in another order.
        bias: Whether the linear has a bias.
    """
    has_outliers = layout.outliers > 0
    return {
        "bias": bias,
        "enable_norm": norm,
        "enable_perm": permuted,
        "group_num": layout.groups,
        "group_size": (size[1] - layout.outliers) // layout.groups,
        "in_features": size[1],
        "indices_as_float": False,
        "is_indice_packed": True,
        "num_centroids": [layout.outlier_centroids if has_outliers else -1, layout.centroids],
        "num_res_centroids": [-1, layout.res_centroids or -1],
        "out_features": size[0],
        "outlier_size": layout.outliers,
        "vector_lens": [layout.outlier_vector_len if has_outliers else -1, layout.vector_len],
        "vector_quant_dim": "out",
    }


def layout_from(entry: Mapping[str, Any], name: str) -> Layout:
    """Return the codebook sizes of a linear's entry.

    Raises:
        CorruptArtifact: The entry is incomplete, or of a kind that public readers do not know either.
    """
    from qharness_vptq.layout import Layout

    try:
        if entry.get("vector_quant_dim", "out") != "out":
            raise CorruptArtifact(f"'{name}' has vectors along the input, which no VPTQ checkpoint is known to have.")
        (outlier_len, length), (outlier_count, count) = entry["vector_lens"], entry["num_centroids"]
        has_outliers = outlier_len > 1 and outlier_count > 0
        return Layout(
            vector_len=length,
            centroids=count,
            res_centroids=max(entry["num_res_centroids"][1], 0),
            groups=entry["group_num"],
            outliers=entry["outlier_size"] if has_outliers else 0,
            outlier_vector_len=outlier_len if has_outliers else 1,
            outlier_centroids=outlier_count if has_outliers else 0,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtifact(f"The VPTQ configuration of '{name}' is incomplete: {error}.") from error
