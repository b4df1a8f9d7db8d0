"""The boundary around decoders: what a library raises on damaged bytes, as one refusal.

A file from elsewhere may be damaged in any way, and a library that decodes it then raises whatever its code came to: a
division by zero, a failed assertion, a word of its own that no other library knows. A list of such classes is never
complete: for every one that was found by feeding damaged files there was another. So this is the one place in the
program where `Exception` is caught. What it costs: a fault of our own inside the boundary reads as a damaged file. So
as little as possible stands inside, and a test on sound files shows what is ours.

Memory is not the boundary's business: what a file claims is compared with its size before it is decoded.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sarjepa.errors import InputError

_LONGEST = 200  # characters of a library's words
_OF_DAMAGE = (None, errno.EINVAL, errno.EOVERFLOW)  # what an OSError says of a place that cannot be in a file


@contextmanager
def decoder_errors(refuse: Callable[[str], InputError]) -> Iterator[None]:
    """Turn whatever is raised inside into one refusal.

    Args:
        refuse: maker of the error to raise from the library's words.

    Raises:
        InputError: the decoder failed; the error of `refuse`, or one that was raised inside.
        OSError: the system would not read (a disk, a permission); the file may be sound.
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
    """What a library said, short, on one line and the same on every run: no address of an object in memory."""
    said = re.sub(r"<?[\w.]+ object at 0x[0-9a-f]+>?", "the file", " ".join(str(error).split()))
    return f"{type(error).__name__}: {said}"[:_LONGEST] if said else type(error).__name__
