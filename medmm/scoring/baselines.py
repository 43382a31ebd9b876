"""What costs no model: the reports that any method must beat on the same split.

``most_frequent`` and ``nearest_image`` copy reports of the training split; ``swapped_image`` is the model itself,
looking at somebody else's images, and shows how much of a score comes from knowing how reports sound.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NAMES = ("most_frequent", "nearest_image", "swapped_image")
THUMBNAIL = 64
"""Side of the images that are compared, in pixels."""
_BLOCK = 4096  # keys that are compared at a time, which bounds memory
_WORD = re.compile(r"[a-z]+|\d+")
_ORDERS = (1, 2)  # words and pairs of words


def most_frequent(reports: Sequence[str]) -> str:
    """Choose the training report that stands for all.

    The text that occurs most. Where every text occurs once, the same after lower-casing, leaving out punctuation and
    making every number one word. Where every one is still unique, the most typical: the one with the highest mean
    cosine of TF-IDF weighted words and word pairs to all others (the similarity inside CIDEr, Vedantam et al. 2015).
    Ties go to the text that sorts first.

    Args:
        reports: Target texts of the training split.

    Raises:
        ValueError: There is no report.
    """
    if not reports:
        raise ValueError("no training report to choose from")
    counts = Counter(reports)
    if max(counts.values()) > 1:
        return min(counts, key=lambda text: (-counts[text], text))
    alike: dict[str, list[str]] = defaultdict(list)
    for text in reports:
        alike[" ".join(_words(text))].append(text)
    if len(alike) < len(reports):
        largest: list[str] = min(alike.values(), key=lambda group: (-len(group), min(group)))
        return min(largest)
    return _most_typical(sorted(counts))


def _most_typical(reports: Sequence[str]) -> str:
    """Mean cosine to all others, in one pass: the dot product with the sum of all vectors."""
    bags = [_ngrams(text) for text in reports]
    documents = Counter(ngram for bag in bags for ngram in bag)
    vectors = []
    total: dict[tuple[str, ...], float] = defaultdict(float)
    for bag in bags:
        weights = {ngram: count * math.log(len(bags) / documents[ngram]) for ngram, count in bag.items()}
        length = math.sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        vectors.append({ngram: weight / length for ngram, weight in weights.items()})
        for ngram, weight in vectors[-1].items():
            total[ngram] += weight
    scores = [sum(weight * (total[ngram] - weight) for ngram, weight in vector.items()) for vector in vectors]
    return reports[int(np.argmax(np.round(scores, 9)))]  # rounded, so that a tie stays a tie whatever the order of sums


def _words(text: str) -> list[str]:
    return ["0" if word.isdigit() else word for word in _WORD.findall(text.lower())]


def _ngrams(text: str) -> Counter[tuple[str, ...]]:
    words = _words(text)
    return Counter(tuple(words[i : i + n]) for n in _ORDERS for i in range(len(words) - n + 1))


def thumbnail(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Shrink an image for comparison.

    Args:
        image: ``[1, S, S]`` or ``[1, D, S, S]`` in [0, 1]; the middle slice of a volume is taken.

    Returns:
        ``[64 * 64]`` float32, area-averaged.
    """
    import cv2

    plane = image[0] if image.ndim == 3 else image[0, image.shape[1] // 2]
    small = cv2.resize(
        np.ascontiguousarray(plane, dtype=np.float32), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA
    )
    return np.asarray(small, dtype=np.float32).reshape(-1)


def nearest(
    queries: npt.NDArray[np.float32],
    keys: npt.NDArray[np.float32],
    query_patients: Sequence[str],
    key_patients: Sequence[str],
) -> npt.NDArray[np.int64]:
    """Find for each query the key at the smallest L2 distance that is not the same patient's.

    Args:
        queries: ``[Q, P]`` pixels in [0, 1].
        keys: ``[K, P]`` pixels in [0, 1], K at least 1.
        query_patients: Q patient keys.
        key_patients: K patient keys.

    Returns:
        ``[Q]`` int64 indices into ``keys``; the first among equals. Where all keys are the query's own patient's, the
        nearest of them.
    """
    middle = keys.mean(axis=0, dtype=np.float64)  # distances stay, and the differences of squares below become small
    patients = np.asarray(key_patients)
    q = queries.astype(np.float64) - middle
    best = np.full(len(q), np.inf)
    found = np.zeros(len(q), dtype=np.int64)
    alone = np.array([bool((patients == patient).all()) for patient in query_patients])
    for start in range(0, len(keys), _BLOCK):
        k = keys[start : start + _BLOCK].astype(np.float64) - middle
        squared = (q * q).sum(axis=1)[:, None] - 2.0 * (q @ k.T) + (k * k).sum(axis=1)[None, :]
        own = np.asarray(query_patients)[:, None] == patients[None, start : start + _BLOCK]
        squared[own & ~alone[:, None]] = np.inf
        place = np.argmin(squared, axis=1)
        closest = squared[np.arange(len(q)), place]
        better = closest < best
        best[better], found[better] = closest[better], place[better] + start
    return found


def derangement(patients: Sequence[str], seed: int) -> npt.NDArray[np.int64]:
    """Give every study another one, of another patient wherever that can be.

    Studies are put in a random order in which each patient's stand together, then everyone takes the study as many
    places further as the patient with the most studies has studies: that leaves the own patient behind, unless this
    patient has over half of all.

    Args:
        patients: The patient key of each of N studies.
        seed: Makes the order.

    Returns:
        ``[N]`` int64, a permutation without a fixed point.

    Raises:
        ValueError: There are fewer than two studies.
    """
    number = len(patients)
    if number < 2:
        raise ValueError("a single study cannot be swapped")
    generator = np.random.default_rng(seed)
    rank = dict(zip(sorted(set(patients)), generator.permutation(len(set(patients))).tolist(), strict=True))
    shuffled = generator.permutation(number)
    order = np.array(sorted(shuffled.tolist(), key=lambda i: rank[patients[i]]), dtype=np.int64)
    largest = max(Counter(patients).values())
    step = min(largest, number - 1)
    result = np.empty(number, dtype=np.int64)
    result[order] = np.roll(order, -step)
    return result
