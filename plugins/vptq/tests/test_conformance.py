"""VPTQ passes the tests of every quantizer, with each kind of codebook."""

from __future__ import annotations

from qharness.testing import QuantizerConformance


class TestVptq(QuantizerConformance):
    module = "qharness_vptq"


class TestResidualAndOutliers(QuantizerConformance):
    module = "qharness_vptq"
    options = {  # noqa: RUF012
        "vector_len": 4,
        "centroids": 16,
        "res_centroids": 8,
        "groups": 2,
        "outliers": 3.0,
        "outlier_vector_len": 2,
        "outlier_centroids": 16,
        "norm": "minmax",
    }
    sizes = ((97, 128), (64, 256))


class TestPlain(QuantizerConformance):
    module = "qharness_vptq"
    options = {"vector_len": 3, "norm": "rms", "sweeps": 0, "importance": "feedback"}  # noqa: RUF012
