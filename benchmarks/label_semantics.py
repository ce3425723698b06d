"""The semantics that pseudo-labels are compared with: classical, coded, self-trained and random features."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from label_variants import Bench, Semantics
from semantics import random_network

from videocups.pipeline.semantic_stages import shrunk
from videocups.semantics.coding import CodedFeatures, learn_coding
from videocups.semantics.distill_config import DistillConfig
from videocups.semantics.extractors import build_extractor
from videocups.semantics.features_classical import ClassicalFeatures
from videocups.semantics.inference import InferenceConfig

TERMS = {
    "codes, depth term off": "off",
    "codes, depth term as released": "released",
    "codes, depth term repaired": "repaired",
}
STEPS = 120
FRAMES_APART = 5
FAR_M = 90.0
CODES = DistillConfig(dim=32, steps=STEPS, batch=8, negatives=2, depth_decay_every=60)
"""few and short codes, for a CPU"""


def classical(name: str, inference: InferenceConfig) -> Semantics:
    """Return the embedded features."""
    extractor = ClassicalFeatures()
    return Semantics(name, extractor.extract, extractor.weights, inference)


def coded(bench: Bench, term: str, inference: InferenceConfig, seed: int = 0) -> Semantics:
    """Return codes distilled from classical features of every fifth frame."""
    extractor, settings = ClassicalFeatures(), replace(CODES, depth_term=term, seed=seed)
    features = CodedFeatures(extractor, learn_coding(_frames(bench), extractor.weights, settings))
    return Semantics(f"codes-{term}", features.extract, None, inference)


@lru_cache(maxsize=1)
def _frames(bench: Bench):
    """Return what all heads are distilled from: features, depth and clip of frames."""
    extractor, found = ClassicalFeatures(), []
    for group, clip in enumerate(bench.clips.values()):
        for number in range(0, len(clip), FRAMES_APART):
            small = shrunk(clip.frame_rgb(number), InferenceConfig().low_scale)
            found.append((extractor.extract(small), bench.depth_m(clip, number, far=FAR_M), group))
    return found


def self_trained(checkpoint: Path, inference: InferenceConfig) -> Semantics:
    """Return the features of a pre-training."""
    features = build_extractor("self-trained", checkpoint=checkpoint)
    return Semantics(features.name, features.extract, features.weights, inference)


def random_codes(inference: InferenceConfig) -> Semantics:
    """Return the features of a network that never learned."""
    return Semantics("random", random_network(), None, inference)
