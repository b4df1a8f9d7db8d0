"""The boundary around decoders: whatever a library raises on damaged bytes becomes one `InputError`.

A file from elsewhere may be damaged in any way, and a library that decodes it then raises anything: a division by zero,
a failed assertion, an exception class of its own. A list of these classes is never complete: tests with damaged files
kept finding another one. So this is the only place in the program where `Exception` is caught. The cost is that a fault
of our own inside the boundary looks like a damaged file, so as little as possible stands inside, and tests on sound
files show our own faults.

The boundary does not limit memory: readers compare what a file claims with its size before they decode it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sarjepa.errors import InputError

_LONGEST = 200  # characters of a library's words
_OF_DAMAGE = (None, errno.EINVAL, errno.EOVERFLOW)  # of an OSError: an offset that cannot be in the file


@contextmanager
def decoder_errors(refuse: Callable[[str], InputError]) -> Iterator[None]:
    """Turn whatever is raised inside into one refusal.

    Args:
        refuse: function of the library's words that makes the error to raise.

    Raises:
        InputError: the decoder failed; the error is that of `refuse`, or one that was raised inside.
        OSError: the system cannot read (a disk, a permission); the file may be sound.

    Example:
        >>> with decoder_errors(lambda words: InputError("not a readable image", where="chip.png", got=words)):
        ...     480 / 0  # a decoder divides by a width that damaged bytes state
        Traceback (most recent call last):
        sarjepa.errors.InputError: not a readable image: chip.png; got ZeroDivisionError: division by zero
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # see the module's text
        if isinstance(error, OSError) and error.errno not in _OF_DAMAGE:
            raise
        raise refuse(words_of(error)) from error


def words_of(error: BaseException) -> str:
    """A library's error, short, on one line and the same on every run: without addresses of objects in memory.

    Example:
        >>> words_of(ValueError("no such tag"))
        'ValueError: no such tag'
    """
    text = re.sub(r"<?[\w.]+ object at 0x[0-9a-f]+>?", "the file", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:_LONGEST] if text else type(error).__name__
