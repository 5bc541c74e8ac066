"""The CPU target: its passes, and how a graph becomes machine code."""

from __future__ import annotations

from ...compiler.options import CompileOptions
from ...compiler.pass_ import Pass
from ...compiler.passes import CANONICALISE, CLEAN_UP, FUSE, LEGALISE_HALF
from ...compiler.target import Target
from .attention.select import select_attention_pass
from .build import lower
from .choices import Choices
from .dense.epilogue import epilogue_pass
from .dense.matmul import packed_matmul
from .dense.read_ahead import read_ahead_pass
from .dense.select import select_dense_pass
from .dense.strassen import strassen_matmul
from .layout.channels_last import channels_last_pass
from .machine_peaks import peaks_of
from .recurrent.select import select_recurrent_pass
from .spatial.convolution import spatial_convolution
from .spatial.depthwise import spatial_depthwise
from .spatial.strip_select import strips_pass
from .spatial.winograd import spatial_winograd
from .timed import lower_timed

# Where the weights are among the operands of the dense kernels.
_WEIGHTS = {packed_matmul: 1, strassen_matmul: 1, spatial_convolution: 1, spatial_winograd: 1}
# Where these take a bias.
_BIASES = {
    packed_matmul: 2,
    strassen_matmul: 2,
    spatial_convolution: 2,
    spatial_depthwise: 2,
    spatial_winograd: 2,
}


def _passes(options: CompileOptions) -> tuple[Pass, ...]:
    choices = Choices.of(options)
    return (
        *CANONICALISE,
        LEGALISE_HALF,
        channels_last_pass(choices),
        CLEAN_UP,
        select_attention_pass(choices),
        select_dense_pass(choices),
        select_recurrent_pass(choices),
        epilogue_pass(_BIASES),
        read_ahead_pass(_WEIGHTS, frozenset(_WEIGHTS)),
        FUSE,
        strips_pass(choices),
    )


TARGET = Target("cpu", _passes, lower, peaks_of, lower_timed)
