"""The crop setting: how large a centre of a source's chips is kept.

One setting serves several sources: a number for all, or a side for each ("mstar=64,saracd=none"); "published" is the
crop that a source's published evaluation takes, which its manifest names: the centre 128 px of MSTAR, FUSAR-Ship and
SAR-ACD alike. SARATR-X crops MSTAR alone, which is "fusarship=none,saracd=none".
"""

from __future__ import annotations

from collections.abc import Collection

from sarjepa.data.built import built_datasets
from sarjepa.data.manifest_parser import load_manifest, source_names
from sarjepa.data.shards import Shards
from sarjepa.errors import InputError, nearest


def parse_crop(text: str, source: str, known: Collection[str] = ()) -> int | str:
    """The crop that a setting gives one source.

    Args:
        text: "none", "published", a number, or pairs such as "mstar=64,saracd=none".
        source: name of the source.
        known: the sources that a pair may name; any if empty.

    Returns:
        A side in pixels, "none" or "published"; a source that no pair names gets "published".

    Raises:
        InputError: the text has another form, or a pair names an unknown source.

    Example:
        >>> parse_crop("mstar=64,saracd=none", "mstar")
        64
    """
    sides: dict[str, str] = {}
    for part in text.split(","):
        name, _, side = part.strip().rpartition("=")
        if known and name and name not in known:
            raise InputError("no such source", where=f"{name!r} in crop {text!r}", hint=nearest(name, known))
        if side not in ("none", "published") and not (side.isdecimal() and int(side)):
            raise InputError("no such crop", where=repr(text), expected="published, none, N or SOURCE=N,...")
        sides[name or source] = side
    side = sides.get(source, "published")
    return int(side) if side.isdecimal() else side


def check_crop(data_root: str, crop: str) -> None:
    """Refuse a crop setting for a source that is neither built nor public.

    Raises:
        InputError: there is no such source, or the setting is not a crop.

    Example:
        >>> check_crop("data", "toy=24")
        >>> check_crop("data", "toy=24,mstr=none")
        Traceback (most recent call last):
        sarjepa.errors.InputError: no such source: 'mstr' in crop 'toy=24,mstr=none'; did you mean 'mstar'?
    """
    parse_crop(crop, "", {*source_names(), *built_datasets(data_root)})


def crop_side(crop: str, name: str, shards: Shards) -> int | None:
    """The side (px) of the centre crop that a setting means for a source; None: chips stay whole.

    Args:
        crop: the crop setting.
        name: name of the source.
        shards: the built source; without a manifest, its index names the published crop.

    Raises:
        InputError: the setting names a side that is larger than every chip.

    Example:
        >>> shards = sarjepa.open_shards("data/shards/toy")
        >>> [crop_side(crop, "toy", shards) for crop in ("24", "toy=16", "mstar=64")]  # the last leaves toy whole
        [24, 16, None]
    """
    side = parse_crop(crop, name)
    if side == "published":
        # The shipped manifest first: an earlier version, which knew of no crop, may have written the index.
        benchmark = load_manifest(name).benchmark if name in source_names() else shards.index.get("benchmark")
        return (benchmark or {}).get("crop")
    if side != "none" and int(side) > (largest := int(shards.shapes.max())):
        raise InputError(
            "the crop is larger than every chip", where=f"{crop!r} for {name}", expected=f"at most {largest} px",
            hint="none keeps chips whole",
        )  # fmt: skip
    return None if side == "none" else int(side)
