"""Feature extractors by name: ``classical`` needs nothing, the others fetched weights."""

from __future__ import annotations

from pathlib import Path

from videocups.semantics.features import FeatureExtractor
from videocups.semantics.features_classical import ClassicalFeatures, ClassicalFeaturesConfig

NAMES = ("classical", "dino-vits8", "dino-vitb8", "dino-resnet50")


def build_extractor(
    name: str,
    *,
    classical: ClassicalFeaturesConfig | None = None,
    weights: Path | None = None,
    device: str = "cpu",
) -> FeatureExtractor:
    """Return the extractor ``name``; ``weights``: folder of fetched weights, the usual one where None."""
    if name == "classical":
        return ClassicalFeatures(classical)
    if name not in NAMES:
        raise ValueError(f"there are no features {name!r}; there are {', '.join(NAMES)}")
    from videocups.semantics.dino import DinoFeatures
    from videocups.semantics.weights import load_weights

    return DinoFeatures(name, load_weights(name, weights), device)
