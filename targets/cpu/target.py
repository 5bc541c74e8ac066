"""The CPU target: its passes, and how a graph becomes machine code."""

from __future__ import annotations

from ...compiler.options import CompileOptions
from ...compiler.pass_ import Pass
from ...compiler.passes import CANONICALISE, CLEAN_UP, FUSE, FUSE_HEADS, LEGALISE_HALF
from ...compiler.passes.bodies import everywhere
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
from .spatial.transposed import spatial_transposed_convolution
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
    spatial_transposed_convolution: 2,
    spatial_winograd: 2,
}

# Where these take a residual.
_RESIDUALS = {packed_matmul: 4, strassen_matmul: 4}


def _passes(options: CompileOptions) -> tuple[Pass, ...]:
    return passes_for(Choices.of(options))


def passes_for(choices: Choices) -> tuple[Pass, ...]:
    """All passes of the target; those before fusion, and what is chosen after it, last."""
    return (
        *CANONICALISE,
        LEGALISE_HALF,
        _everywhere(channels_last_pass(choices)),
        CLEAN_UP,
        _everywhere(select_attention_pass(choices)),
        _everywhere(select_dense_pass(choices)),
        _everywhere(select_recurrent_pass(choices)),
        _everywhere(epilogue_pass(_BIASES, _RESIDUALS)),
        _everywhere(read_ahead_pass(_WEIGHTS, frozenset(_WEIGHTS))),
        FUSE,
        FUSE_HEADS,
        _everywhere(strips_pass(choices)),
    )


def _everywhere(pass_: Pass) -> Pass:
    """The pass, run on the bodies of control flow too."""
    return everywhere(pass_.name, pass_.run)


TARGET = Target("cpu", _passes, lower, peaks_of, lower_timed)
