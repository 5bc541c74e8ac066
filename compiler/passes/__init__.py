"""Graph passes, one module a pass, and the orders in which targets run them."""

from ..pass_ import Pass, until_stable
from .absorb import ABSORB
from .bodies import everywhere
from .broadcast import ABSORB_EXPANSIONS
from .common_subexpressions import COMMON_SUBEXPRESSIONS
from .fold_batch_norm import FOLD_BATCH_NORM
from .fold_constants import FOLD_CONSTANTS
from .fuse import FUSE
from .fuse_heads import FUSE_HEADS
from .legalise_half import LEGALISE_HALF
from .recognise import RECOGNISE
from .restate import RESTATE
from .simplify import SIMPLIFY
from .sink_transposes import SINK_TRANSPOSES

DEAD_CODE = everywhere("dead_code", lambda graph: graph.prune())

# Folding makes operands constant, which lets more be simplified, which leaves more to fold.
TIDY = until_stable("tidy", (FOLD_CONSTANTS, SIMPLIFY, SINK_TRANSPOSES, COMMON_SUBEXPRESSIONS))

# After a change of layouts: nothing is moved any more, only what cancels goes.
CLEAN_UP = until_stable("clean_up", (SIMPLIFY, COMMON_SUBEXPRESSIONS))

CANONICALISE: tuple[Pass, ...] = (
    DEAD_CODE,
    COMMON_SUBEXPRESSIONS,  # before equal nodes on shared weights are folded one by one
    ABSORB_EXPANSIONS,
    TIDY,
    RECOGNISE,
    FOLD_BATCH_NORM,
    ABSORB,
    RESTATE,
    TIDY,
)

__all__ = ["CANONICALISE", "CLEAN_UP", "DEAD_CODE", "FUSE", "FUSE_HEADS", "LEGALISE_HALF", "TIDY"]
