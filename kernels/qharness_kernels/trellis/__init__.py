"""Bitshift trellises: codes, Viterbi search and payload."""

from qharness_kernels.trellis.codes import COMPUTED, LUT_BITS, decode_hybrid, decode_states
from qharness_kernels.trellis.packing import is_tail_biting, pack_states, unpack_states, words_of
from qharness_kernels.trellis.shape import Trellis
from qharness_kernels.trellis.table import gaussian_table
from qharness_kernels.trellis.viterbi import Search, tail_biting_walks

__all__ = [
    "COMPUTED",
    "LUT_BITS",
    "Search",
    "Trellis",
    "decode_hybrid",
    "decode_states",
    "gaussian_table",
    "is_tail_biting",
    "pack_states",
    "tail_biting_walks",
    "unpack_states",
    "words_of",
]
