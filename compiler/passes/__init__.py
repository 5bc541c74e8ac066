"""Graph passes, one module a pass, and the orders in which targets run them."""

from .broadcast import ABSORB_EXPANSIONS
from .common_subexpressions import COMMON_SUBEXPRESSIONS
from .fold_batch_norm import FOLD_BATCH_NORM
from .fold_constants import FOLD_CONSTANTS
from .fuse import FUSE
from .legalise_half import LEGALISE_HALF
from .simplify import SIMPLIFY

# Folding makes operands constant, which lets more be simplified, which leaves more to fold.
CANONICALISE = (
    ABSORB_EXPANSIONS,
    FOLD_CONSTANTS,
    SIMPLIFY,
    COMMON_SUBEXPRESSIONS,
    FOLD_BATCH_NORM,
    FOLD_CONSTANTS,
    SIMPLIFY,
)

__all__ = ["CANONICALISE", "FUSE", "LEGALISE_HALF"]
