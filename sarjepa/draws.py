"""Random numbers as functions of the image that they are for.

The numbers of a running generator depend on the order of the calls, and so on the batch size, the number of workers and
the number of GPUs. Here a number is a pure function of (seed, stream, epoch, image index, position), mixed by
SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), whose finaliser passes the usual statistical tests with 64 bits of state.
An image gets the same crop and the same mask in an epoch wherever they are computed; numpy's integer arithmetic makes
them the same on every platform.

A stream is a name ("crop", "windows"), so that two uses never share numbers.
"""

from __future__ import annotations

import hashlib

import numpy as np

_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, SplitMix64's increment


def _mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser, elementwise on uint64 (arithmetic modulo 2^64)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def stream_key(seed: int, stream: str, epoch: int = 0) -> int:
    """A 64-bit key for (seed, stream, epoch); seed 0 is a seed like any other.

    Example:
        >>> stream_key(0, "crop") == stream_key(0, "windows")
        False
    """
    text = f"{seed}/{stream}/{epoch}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little")


def uniforms(seed: int, stream: str, epoch: int, indices: np.ndarray, num: int) -> np.ndarray:
    """Uniform numbers in [0, 1) for each image index.

    Args:
        seed, stream, epoch: seed, name of the use, and epoch.
        indices: (B,) integers, the images' indices in the data set.
        num: count of numbers per image.

    Returns:
        (B, num) float64; row b depends on indices[b] alone.

    Example:
        >>> uniforms(0, "crop", 0, np.array([3, 5]), 2).round(2)
        array([[0.65, 0.59],
               [0.06, 0.26]])
    """
    index_B = np.asarray(indices, dtype=np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):
        row_B = _mix(np.uint64(stream_key(seed, stream, epoch)) + (index_B + np.uint64(1)) * _GOLDEN_GAMMA)
        column_N = (np.arange(num, dtype=np.uint64) + np.uint64(1)) * _GOLDEN_GAMMA
        bits_BN = _mix(row_B[:, None] + column_N[None, :])
    return (bits_BN >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, stream: str, epoch: int, num: int) -> np.ndarray:
    """A permutation of range(num), int64: the order of an epoch, or of a class's images in a few-shot draw.

    Example:
        >>> permutation(0, "order", 1, 5)
        array([0, 4, 1, 2, 3])
    """
    keys_N = uniforms(seed, stream, epoch, np.arange(num), 1)[:, 0]
    return np.argsort(keys_N, kind="stable")
