"""Draw the edge maps of a simulated chip at the four scales beside Sobel's, to docs/edge-maps.png.

The chip is drawn twice: as it is, and under a gain that rises eightfold from left to right, as it does across the beam
of an antenna. Speckle multiplies, so a difference (Sobel) finds more edges in the bright part of one and the same
clutter; a ratio of means does not, and its wider windows average the speckle away until the target and its shadow are
left. The figure over a map of the second row is its mean over the right fifth of the image, over that of the left.

    python benchmarks/edge_maps.py [--out docs/edge-maps.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot
from PIL import Image
from scipy import ndimage

from sarjepa.data.simulator import SimulatedChip, simulate
from sarjepa.ops.ratio import gradient_by_ratio

RADII = (5, 9, 13, 17)
SIZE = 224  # px, as in pre-training
GAIN = 8
TARGET = Path(__file__).parents[1] / "docs" / "edge-maps.png"


def chip() -> np.ndarray:
    """A simulated tank, enlarged to the size of pre-training: (224, 224) float32 in [0, 1]."""
    image, _ = simulate(SimulatedChip(seed=0, class_name="tank", split="train", index=2))
    enlarged = Image.fromarray(image.astype(np.float32)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(enlarged) / 255, 0, 1)


def maps(image: np.ndarray) -> dict[str, np.ndarray]:
    """Sobel's edge strength, and the gradient by ratio at each radius; float32 (224, 224) each."""
    sobel = np.hypot(ndimage.sobel(image, 0, mode="mirror"), ndimage.sobel(image, 1, mode="mirror"))
    strength = gradient_by_ratio(image, RADII, eps=1e-3)
    return {"Sobel": sobel, **{f"ratio, r = {radius}": scale for radius, scale in zip(RADII, strength, strict=True)}}


def draw(out: Path) -> None:
    """Two rows, the plain chip and the one under a gain; a column for each map, one grey scale a map and row."""
    matplotlib.use("agg")
    plain = chip()
    uneven = plain * np.geomspace(1 / GAIN, 1, SIZE, dtype=np.float32)
    figure, rows = pyplot.subplots(2, 2 + len(RADII), figsize=(13.2, 4.9), layout="constrained")
    for axes, image, name in zip(rows, (plain, uneven), ("simulated chip", f"gain 1 to {GAIN}"), strict=True):
        panels = {name: np.sqrt(image), **maps(image)}
        for axis, (title, panel) in zip(axes, panels.items(), strict=True):
            axis.imshow(panel, cmap="gray", vmin=0, vmax=np.quantile(panel, 0.998))
            if image is uneven and title != name:
                fifth = SIZE // 5
                title += f"\nright / left {panel[:, -fifth:].mean() / panel[:, :fifth].mean():.1f}"
            axis.set_title(title, fontsize=10)
            axis.set_axis_off()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=TARGET)
    draw(parser.parse_args().out)


if __name__ == "__main__":
    main()
