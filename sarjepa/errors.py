"""Errors a user can act on.

Whatever a person can get wrong (a path, a name, a file) ends as an `InputError`: one line with the fault, its place,
the expected and the actual value, and the next step. The command line prints this line and exits with 1, as it does for
an OSError (a full disk, a folder without permission). Everything else is a fault of the program and keeps its
traceback.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable


class InputError(Exception):
    """A fault in what the user gave.

    Args:
        what: the fault, a clause without a full stop ("no such source").
        where: file, key or option of the fault.
        expected: the right value, or its form.
        got: the actual value.
        hint: the next step, a clause in the imperative ("run sarjepa build-dataset --sources mstar").

    Example:
        >>> print(InputError("value out of range", where="--epochs", expected="at least 1", got=0))
        value out of range: --epochs; expected at least 1; got 0
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.where, self.expected, self.got, self.hint = what, where, expected, got, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.what if self.where is None else f"{self.what}: {self.where}"]
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.got is not None:
            parts.append(f"got {self.got}")
        if self.hint:
            parts.append(self.hint)
        return "; ".join(parts).replace("\n", " ")


class Stopped(KeyboardInterrupt):
    """A signal ended a command before its end.

    Args:
        number: number of the signal; the command's exit code is 128 more, as in every shell.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint for a name that is not among `choices`: the closest of them, or all.

    Example:
        >>> nearest("mstr", ["mstar", "saracd"])
        "did you mean 'mstar'?"
    """
    names = sorted(choices)
    if not names:
        return "there are none to choose from"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}"
