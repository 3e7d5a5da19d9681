"""What a picture's pixels say of its technical quality: natural-scene statistics, blur, noise, blocks, exposure.

Every measure is a pure function of the picture; `filters.scorers.quality` weighs them. Three views are measured:
the *detail* (the middle at full resolution, or reduced by a whole factor where the picture is large), the *whole*
(shorter side 128) and the *grid* (the middle at full resolution, in step with JPEG's blocks of 8).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

#: Large pictures are reduced by a whole factor to a shorter side of 384 to 767 pixels before anything is measured:
#: what a sensor does below that is seen by no encoder and by few eyes.
REDUCED = 384

#: Side of the middle that is measured in detail: all of a picture that an encoder sees at 224.
CROP = 256

#: Shorter side of the whole picture, and how many times longer the longer side may be (beyond, it is squeezed).
WHOLE, MAX_RATIO = 128, 2

#: A picture is at least this wide and high before it is measured; smaller ones repeat their edge.
_LEAST = 16

#: Below this local standard deviation (of 255) a pixel counts as flat: less than 8-bit rounding leaves in a drawing.
_FLAT = np.float32(0.5)

#: From this level on a channel counts as full: JPEG and reduction leave clipped areas a little below 255.
_FULL = 252

#: The Gaussian window of Mittal et al.: 7 x 7, standard deviation 7/6.
_WINDOW = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
_WINDOW = (_WINDOW / _WINDOW.sum()).astype(np.float32)

#: Pairs of neighbours along the four directions: right, down, and both diagonals.
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


def features(image: Image.Image) -> dict[str, float]:
    """Return all measures of an RGB picture of any size by name, all finite."""
    factor = max(1, min(image.size) // REDUCED)
    reduced = image.reduce(factor) if factor > 1 else image
    grey = reduced.convert("L")
    grid = grey if factor == 1 else _middle(image).convert("L")
    detail = _array(_middle(grey))
    colours = _whole(reduced)
    whole = _array(colours.convert("L"))
    found = {f"detail_{name}": value for name, value in _texture(detail).items()}
    found |= {f"whole_{name}": value for name, value in _texture(whole).items()}
    found |= blockiness(_array(_middle(grid)))
    found |= exposure(whole, np.asarray(colours))
    found |= composition(whole)
    found["scale_ratio"] = found["detail_gradient"] - found["whole_gradient"]
    return found


def _middle(image: Image.Image) -> Image.Image:
    """Cut the middle, its corner at a multiple of 8 so that it stays in step with JPEG's blocks."""
    left, top = (max(0, (length - CROP) // 2) // 8 * 8 for length in image.size)
    return image.crop((left, top, min(image.width, left + CROP), min(image.height, top + CROP)))


def _whole(image: Image.Image) -> Image.Image:
    scale = min(1.0, WHOLE / min(image.size))
    width, height = (max(1, min(round(length * scale), WHOLE * MAX_RATIO)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def _array(grey: Image.Image) -> np.ndarray:
    """Return luma as float32 (height, width), 0 to 255, at least 16 in each direction."""
    luma = np.asarray(grey, dtype=np.float32)
    missing = [max(0, _LEAST - length) for length in luma.shape]
    return np.pad(luma, [(0, more) for more in missing], "edge") if any(missing) else luma


def _texture(luma: np.ndarray) -> dict[str, float]:
    """Natural-scene statistics, blur and noise of one view."""
    mean = _blur(luma)
    deviation = np.sqrt(np.maximum(_blur(luma * luma) - mean * mean, 0))
    found = scene_statistics(luma, mean, deviation)
    found |= sharpness(luma, mean)
    found |= noise(luma, deviation)
    return found


def _blur(values: np.ndarray) -> np.ndarray:
    """Smooth with the Gaussian window; edges repeat."""
    for axis in (0, 1):
        width = [(0, 0), (0, 0)]
        width[axis] = (3, 3)
        padded = np.pad(values, width, "edge")
        length = values.shape[axis]
        parts = [padded[at : at + length] if axis == 0 else padded[:, at : at + length] for at in range(7)]
        values = parts[3] * _WINDOW[3]
        for at in range(3):
            values += (parts[at] + parts[6 - at]) * _WINDOW[at]
    return values


def scene_statistics(luma: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> dict[str, float]:
    """Return the statistics of the normalised luma (MSCN) and of its neighbours' products, and the share not flat.

    Source: Mittal, Moorthy and Bovik, No-reference image quality assessment in the spatial domain (IEEE TIP 2012):
    eq. 1 (normalisation with C = 1), 4 (GGD of the values), 7 to 10 (AGGD of the products along four directions).
    Own implementation. Differing from it, flat pixels (local deviation below 0.5 of 255) stay out: drawings are
    mostly flat, and their share is a measure of its own (`textured`).
    """
    active = deviation > _FLAT
    mscn = np.where(active, (luma - mean) / (deviation + 1), np.float32(0))
    count = max(1, int(np.count_nonzero(active)))
    flat = mscn.ravel()
    squares = float(flat @ flat) / count
    found = {
        "textured": count / luma.size,
        "shape": _inverse(squares / max((float(np.abs(flat).sum()) / count) ** 2, 1e-9)),
        "spread": squares,
    }
    for name, (down, right) in zip(("right", "down", "diagonal", "other"), _SHIFTS, strict=True):
        here = mscn[: luma.shape[0] - down, max(0, -right) : luma.shape[1] - max(0, right)]
        there = mscn[down:, max(0, right) : luma.shape[1] + min(0, right)]
        shape, offset, left_spread, right_spread = aggd(here * there)
        found |= {f"{name}_shape": shape, f"{name}_mean": offset}
        found |= {f"{name}_left": left_spread, f"{name}_right": right_spread}
    return found


def aggd(products: np.ndarray) -> tuple[float, float, float, float]:
    """Return shape, mean, left and right spread of the asymmetric generalised Gaussian; zeros are left out.

    Moment matching as in Lasmar et al., Multiscale skewed heavy tailed model for texture analysis (ICIP 2009).
    Shape 0.2 to 10. (2, 0, 0, 0) where everything is zero.
    """
    values = np.ascontiguousarray(products, dtype=np.float32).ravel()
    size = np.abs(values)
    both, signed = float(values @ values), float(values @ size)
    positive, negative = int(np.count_nonzero(values > 0)), int(np.count_nonzero(values < 0))
    if both <= 0:
        return 2.0, 0.0, 0.0, 0.0
    left = float(np.sqrt(max(both - signed, 0) / 2 / max(negative, 1)))
    right = float(np.sqrt(max(both + signed, 0) / 2 / max(positive, 1)))
    gamma = left / right if right > 1e-9 else 1e3
    gamma = min(max(gamma, 1e-3), 1e3)
    ratio = (float(size.sum()) / (positive + negative)) ** 2 / (both / (positive + negative))
    ratio *= (gamma**3 + 1) * (gamma + 1) / (gamma**2 + 1) ** 2
    shape = _inverse(1 / max(ratio, 1e-9))
    scale = float(np.exp(_log_gamma(2 / shape) - 0.5 * (_log_gamma(1 / shape) + _log_gamma(3 / shape))))
    return shape, (right - left) * scale, left, right


@cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """Return (ratios, shapes), ratios rising: E[x^2] / E|x|^2 of a generalised Gaussian by its shape."""
    shapes = np.arange(0.2, 10.0, 0.001)
    ratios = np.exp(_log_gamma(1 / shapes) + _log_gamma(3 / shapes) - 2 * _log_gamma(2 / shapes))
    return ratios[::-1].copy(), shapes[::-1].copy()


def _inverse(ratio: float) -> float:
    ratios, shapes = _table()
    return float(np.interp(ratio, ratios, shapes))


def _log_gamma(value: np.ndarray | float) -> np.ndarray:
    from scipy.special import gammaln

    result: np.ndarray = gammaln(value)
    return result


def sharpness(luma: np.ndarray, mean: np.ndarray) -> dict[str, float]:
    """Return how steep edges are, and how much blurring once more would still take away.

    `gradient`: log of the mean step to the next pixel. `steepest`: the 99th percentile of steps over the range of
    luma (1st to 99th percentile), near 1 for a hard edge. `reblur`: share of all steps that the Gaussian window
    removes (after Crete et al., The blur effect, SPIE 2007: a picture blurred already loses little).
    `laplacian`: log of the Laplacian's variance (Pech-Pacheco et al. 2000).
    """
    across, down = np.abs(np.diff(luma, axis=1)), np.abs(np.diff(luma, axis=0))
    smooth_across, smooth_down = np.abs(np.diff(mean, axis=1)), np.abs(np.diff(mean, axis=0))
    total = float(across.sum() + down.sum())
    lost = float(np.maximum(across - smooth_across, 0).sum() + np.maximum(down - smooth_down, 0).sum())
    low, high = _percentiles(luma, (0.01, 0.99))
    (steepest,) = _percentiles(across, (0.99,))
    (steepest_down,) = _percentiles(down, (0.99,))
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1]
    laplacian += luma[1:-1, :-2]
    laplacian += luma[1:-1, 2:]
    laplacian -= 4 * luma[1:-1, 1:-1]
    return {
        "gradient": float(np.log(total / (2 * luma.size) + 0.05)),
        "steepest": max(steepest, steepest_down) / (high - low + 5),
        "reblur": lost / (total + 0.01 * luma.size),
        "laplacian": float(np.log(_variance(laplacian) + 0.1)),
    }


def noise(luma: np.ndarray, deviation: np.ndarray) -> dict[str, float]:
    """Return two estimates of the noise, as logarithms of a standard deviation (of 255).

    `immerkaer`: from the mean of the Laplacians' difference (Immerkaer, Fast noise variance estimation, CVIU 1996,
    eq. 4). `calm` and `median`: the 10th and 50th percentile of the local deviation; noise leaves nothing calm.
    """
    rows = luma[:-2] - 2 * luma[1:-1] + luma[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    estimate = float(np.abs(both).mean()) * np.sqrt(np.pi / 2) / 6
    calm, median = _percentiles(deviation, (0.1, 0.5))
    return {
        "immerkaer": float(np.log(estimate + 0.05)),
        "calm": float(np.log(calm + 0.1)),
        "median": float(np.log(median + 0.1)),
    }


def blockiness(luma: np.ndarray) -> dict[str, float]:
    """Return how much steps at the edges of 8 x 8 blocks exceed the others, and how smooth the blocks' insides are.

    `blocks`: (edge - inside) / (edge + inside) of the mean steps, worst of both directions, -1 to 1 (after Wang,
    Sheikh and Bovik, No-reference perceptual quality assessment of JPEG compressed images, ICIP 2002, eq. 1 and 2).
    `block_jumps`: the same of second differences across the edge, which a slope of the picture does not raise.
    `frozen`: share of blocks that JPEG has left without any detail but that are not of one colour with the next.
    """
    rows, columns = (length // 8 * 8 for length in luma.shape)
    luma = luma[:rows, :columns]
    blocks, jumps = [], []
    for turned in (luma, np.ascontiguousarray(luma.T)):
        signed = np.diff(turned, axis=1)
        edge, inside = _edge_and_inside(np.abs(signed).mean(axis=0), 7)
        blocks.append((edge - inside) / (edge + inside + 0.1))
        # The step less the mean of the steps on both sides.
        bend = np.abs(signed[:, 1:-1] - (signed[:, :-2] + signed[:, 2:]) / 2).mean(axis=0)
        edge, inside = _edge_and_inside(bend, 6)
        jumps.append((edge - inside) / (edge + inside + 0.1))
    # Rows first: eight whole rows at once are fast, eight neighbours of one row are not.
    bands = luma.reshape(rows // 8, 8, columns)
    high, low, level = (
        band.reshape(rows // 8, columns // 8, 8).transpose(2, 0, 1).copy()
        for band in (bands.max(axis=1), bands.min(axis=1), bands.mean(axis=1))
    )
    span, level = high.max(axis=0) - low.min(axis=0), level.mean(axis=0)
    apart = np.zeros_like(level)
    apart[:, :-1] = np.abs(np.diff(level, axis=1))
    return {
        "blocks": float(max(blocks)),
        "block_jumps": float(max(jumps)),
        "frozen": float(np.mean((span < 3) & (apart > 1))),
    }


def _edge_and_inside(steps: np.ndarray, first: int) -> tuple[float, float]:
    """Split mean steps by column into those at block edges (every 8th from `first` on) and the others."""
    at_edge = np.zeros(len(steps), dtype=bool)
    at_edge[first::8] = True
    return float(steps[at_edge].mean()), float(steps[~at_edge].mean())


def exposure(luma: np.ndarray, rgb: np.ndarray) -> dict[str, float]:
    """Return where the levels lie, how many are clipped, how evenly they are used, and the colours.

    Levels are shares of 255. `entropy`: bits of the histogram of luma over 64 levels (0 to 6). `colour`: Hasler and
    Süsstrunk's M3 (2003) over 100. Gaps in the histogram are no measure: they betray a change of levels made in
    8 bits, not the over-exposure of a camera. `clipped...`: share of pixels with any channel full, mean share of the
    channels, share full in one channel but not near white (over-exposure turns colours). `spike`: the share that is
    full of those that are nearly so. `bright_entropy`: the same bits over the levels from 160 up alone.
    """
    counts = np.bincount(luma.astype(np.uint8).ravel(), minlength=256)
    share = np.cumsum(counts) / luma.size
    levels = {at: int(np.searchsorted(share, at)) for at in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)}
    quarter = counts.reshape(64, 4).sum(axis=1) / luma.size
    used = quarter[quarter > 0]
    used_bright = counts[160:].reshape(24, 4).sum(axis=1)
    red, green, blue = (np.ascontiguousarray(rgb[..., at]).astype(np.float32) for at in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    colour = float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))
    highest = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    full = highest >= _FULL
    bright = used_bright[used_bright > 0] / max(1, used_bright.sum())
    found = {f"level_{round(100 * at)}": level / 255 for at, level in levels.items()}
    return found | {
        "bright": float(counts[250:].sum() / luma.size),
        "dark": float(counts[:6].sum() / luma.size),
        "clipped": float(full.mean()),
        "clipped_channels": float(np.mean([(channel >= _FULL).mean() for channel in (red, green, blue)])),
        "clipped_colour": float((full & (lowest < 200)).mean()),
        "white": float((lowest >= _FULL).mean()),
        "spike": float(full.mean() / ((highest >= 220).mean() + 0.01)),
        "bright_entropy": float(-(bright * np.log2(bright)).sum()),
        "dim": float(np.mean(highest < 64)),
        "highest": float(highest.max()) / 255,
        "mean": float(luma.mean()) / 255,
        "contrast": float(luma.std()) / 255,
        "entropy": float(-(used * np.log2(used)).sum()),
        "colour": colour / 100,
        "saturation": float((highest - lowest).mean()) / 255,
    }


def composition(luma: np.ndarray) -> dict[str, float]:
    """Return where the detail of the picture lies: simple measures, by the energy of its gradient.

    `off_centre`: distance of the detail's centre from that of the picture; `off_thirds`: to the nearest crossing of
    the thirds; `sprawl`: its standard deviation; all in units of the half diagonal, 0 to about 1.
    """
    energy = np.abs(np.diff(luma, axis=1))[:-1] + np.abs(np.diff(luma, axis=0))[:, :-1]
    total = float(energy.sum())
    if total <= 0:
        return {"off_centre": 0.0, "off_thirds": float(np.sqrt(2) / 3), "sprawl": 0.0}
    place, squares = [], 0.0
    for axis in (0, 1):
        along = energy.sum(axis=1 - axis) / total
        position = np.linspace(-1, 1, len(along))
        place.append(float((along * position).sum()))
        squares += float((along * (position - place[-1]) ** 2).sum())
    thirds = [abs(at) - 1 / 3 for at in place]
    return {
        "off_centre": float(np.hypot(place[0], place[1]) / np.sqrt(2)),
        "off_thirds": float(np.hypot(thirds[0], thirds[1]) / np.sqrt(2)),
        "sprawl": float(np.sqrt(squares / 2)),
    }


def _variance(values: np.ndarray) -> float:
    flat = values.ravel()
    return max(0.0, float(flat @ flat) / len(flat) - float(flat.mean()) ** 2)


def _percentiles(values: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    """Return percentiles of every other pixel of every other row: a quarter of the work, the same within a step."""
    few = values[::2, ::2].ravel()
    ranks = [min(len(few) - 1, int(share * len(few))) for share in shares]
    ordered = np.partition(few, ranks)
    return [float(ordered[rank]) for rank in ranks]
