"""Readers of optimizers' steps: parameters that training networks write."""

from __future__ import annotations

from ...ir import Value
from .context import Context
from .items import Item
from .read_gradients import Terms
from .read_plumbing import write
from .registry import reads


class _Step(Terms):
    """Arithmetic of parameters, also with numbers that the file or a run tells."""

    def __init__(self, g: Context, like: Value) -> None:
        super().__init__(g, like)
        self._context = g
        self._dtype = g.dtype(like)

    def number(self, item: Item) -> Value:
        """A number as a 0-d tensor."""
        value = self._context.value(item, self._dtype)
        return self._context.reshape(value, ())

    def moved(self, old: Value, new: Value, keep: Value) -> Value:
        """``keep`` of the old and the rest of the new."""
        rest = self("sub", 1.0, keep)
        return self("add", self("mul", old, keep), self("mul", new, rest))


@reads("ApplyMomentum")
def _momentum(
    g: Context,
    variable: Item,
    accumulation: Item,
    learning_rate: Item,
    gradient: Value,
    momentum: Item,
    use_nesterov: bool = False,
    use_locking: bool = False,
    gradient_scale: float = 1.0,
) -> Value:
    held = g.value(variable)
    f = _Step(g, held)
    rate, share = f.number(learning_rate), f.number(momentum)
    if gradient_scale != 1.0:
        gradient = f("mul", gradient, gradient_scale)
    total = f("add", f("mul", g.value(accumulation), share), gradient)
    write(g, accumulation, total)
    # Nesterov's look ahead: MindSpore's kernel for processors leaves it out.
    return write(g, variable, f("sub", held, f("mul", total, rate)))


@reads("SGD")
def _descent(
    g: Context,
    variable: Item,
    gradient: Value,
    learning_rate: Item,
    accumulation: Item,
    momentum: Item,
    stat: Item,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> Value:
    held, state = g.value(variable), g.value(stat)
    f = _Step(g, held)
    share = f.number(momentum)
    if weight_decay:
        gradient = f("add", gradient, f("mul", held, weight_decay))
    # The first step, which ``stat`` tells, starts with the gradient itself.
    old = g.value(accumulation)
    later = f("add", f("mul", old, share), f("mul", gradient, 1.0 - dampening))
    total = f("where", f("greater", state, 0.0), gradient, later)
    used = f("greater", share, 0.0)
    write(g, accumulation, f("where", used, total, old))
    write(g, stat, f("where", used, f("mul", state, 0.0), state))
    step = f("add", gradient, f("mul", total, share)) if nesterov else total
    step = f("where", used, step, gradient)
    return write(g, variable, f("sub", held, f("mul", step, f.number(learning_rate))))


@reads("Adam")
def _adam(
    g: Context,
    variable: Item,
    first: Item,
    second: Item,
    beta1_power: Item,
    beta2_power: Item,
    learning_rate: Item,
    beta1: Item,
    beta2: Item,
    epsilon: Item,
    gradient: Value,
    use_locking: bool = False,
    use_nesterov: bool = False,
) -> Item:
    held = g.value(variable)
    f = _Step(g, held)
    keep, one = f.number(beta1), f.number(1.0)
    mean = f.moved(g.value(first), gradient, keep)
    square = f.moved(g.value(second), f("mul", gradient, gradient), f.number(beta2))
    ratio = f("sqrt", f("sub", one, f.number(beta2_power)))
    rate = f("div", f("mul", f.number(learning_rate), ratio), f("sub", one, f.number(beta1_power)))
    step = mean
    if use_nesterov:
        step = f.moved(mean, gradient, keep)
    step = f("div", f("mul", step, rate), f("add", f("sqrt", square), f.number(epsilon)))
    found = write(g, first, mean), write(g, second, square)
    return write(g, variable, f("sub", held, step)), *found


@reads("AdamWeightDecay")
def _adam_weight_decay(
    g: Context,
    variable: Item,
    first: Item,
    second: Item,
    learning_rate: Item,
    beta1: Item,
    beta2: Item,
    epsilon: Item,
    decay: Item,
    gradient: Value,
    use_locking: bool = False,
) -> Item:
    held = g.value(variable)
    f = _Step(g, held)
    mean = f.moved(g.value(first), gradient, f.number(beta1))
    square = f.moved(g.value(second), f("mul", gradient, gradient), f.number(beta2))
    step = f("div", mean, f("add", f("sqrt", square), f.number(epsilon)))
    step = f("add", step, f("mul", held, f.number(decay)))
    found = write(g, first, mean), write(g, second, square)
    result = f("sub", held, f("mul", step, f.number(learning_rate)))
    return write(g, variable, result), *found


@reads("ApplyRMSProp")
def _root_mean_square(
    g: Context,
    variable: Item,
    mean_square: Item,
    moment: Item,
    learning_rate: Item,
    gradient: Value,
    rho: Item,
    momentum: Item,
    epsilon: Item,
    use_locking: bool = False,
) -> Value:
    held = g.value(variable)
    f = _Step(g, held)
    square = f.moved(g.value(mean_square), f("mul", gradient, gradient), f.number(rho))
    write(g, mean_square, square)
    root = f("sqrt", f("add", square, f.number(epsilon)))
    step = f("div", f("mul", gradient, f.number(learning_rate)), root)
    step = f("add", f("mul", g.value(moment), f.number(momentum)), step)
    write(g, moment, step)
    return write(g, variable, f("sub", held, step))


@reads("ApplyAdagrad")
def _adagrad(
    g: Context,
    variable: Item,
    accumulation: Item,
    learning_rate: Item,
    gradient: Value,
    update_slots: bool = True,
) -> Item:
    held, total = g.value(variable), g.value(accumulation)
    f = _Step(g, held)
    if update_slots:
        total = write(g, accumulation, f("add", total, f("mul", gradient, gradient)))
    step = f("div", f("mul", gradient, f.number(learning_rate)), f("sqrt", total))
    return write(g, variable, f("sub", held, step)), total


@reads("ApplyGradientDescent")
def _plain_descent(
    g: Context, variable: Item, alpha: Item, delta: Value, use_locking: bool = False
) -> Value:
    held = g.value(variable)
    f = _Step(g, held)
    return write(g, variable, f("sub", held, f("mul", delta, f.number(alpha))))
