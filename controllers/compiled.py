"""Small functions of a tick, compiled by Numba when their module is imported: a tick never compiles, and never runs a kind of argument it was not compiled for.

A tick of numpy costs by the call and touches much of the interpreter, which the planner has pushed out of the caches 62 times a second;
compiled loops over n joints do not. Arguments of another type raise TypeError, an index beyond an array IndexError, as in Python.
With NUMBA_DISABLE_JIT=1 everything runs as the Python that it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit, types

F = TypeVar("F", bound=Callable[..., Any])
FLOAT, INT, BOOL = types.float64, types.int64, types.boolean
VECTOR, MATRIX, TENSOR = (types.Array(FLOAT, d, "A", readonly=True) for d in (1, 2, 3))  # to read, of any layout
INDICES, FLAGS = types.Array(INT, 1, "A", readonly=True), types.Array(BOOL, 1, "A", readonly=True)
STORE, STORE_MATRIX, COUNTS = types.Array(FLOAT, 1, "C"), types.Array(FLOAT, 2, "C"), types.Array(INT, 1, "C")  # to change
NOTHING = types.void
# To be returned; an array that the caller makes, to be filled, costs half as much.
NEW_MATRIX, NEW_TENSOR = types.Array(FLOAT, 2, "C"), types.Array(FLOAT, 3, "C")


def tuple_of(*kinds: types.Type) -> types.Type:
    """The type of several values that are returned."""
    return types.Tuple(kinds)


def compiled(returns: types.Type, *arguments: types.Type) -> Callable[[F], F]:
    """Compile a function for these types now; the machine code is kept beside the module, or in the user's cache folder."""

    def compile_now(function: F) -> F:
        options: dict[str, Any] = {"error_model": "numpy", "boundscheck": True}
        try:
            return cast(F, njit(returns(*arguments), cache=True, **options)(function))
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return cast(F, njit(returns(*arguments), **options)(function))  # no folder to write to: compiled at each start

    return compile_now
