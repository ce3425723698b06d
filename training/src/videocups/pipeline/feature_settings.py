"""Which features describe frames, with everything that decides what they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from videocups.semantics.extractors import KINDS, SELF_TRAINED, build_extractor, device_of
from videocups.semantics.features import FeatureExtractor
from videocups.semantics.features_classical import ClassicalFeaturesConfig
from videocups_core.config import ConfigError, setting


@dataclass(frozen=True)
class FeatureSettings:
    """Which features describe a frame."""

    kind: str = setting(
        "classical", "classical needs nothing, dino-… fetched weights, self-trained a checkpoint", choices=KINDS
    )
    classical: ClassicalFeaturesConfig = field(default_factory=ClassicalFeaturesConfig)
    # folder of fetched weights; null takes the usual one
    weights: Path | None = setting(None, "folder of fetched weights; null takes the usual one")
    # what 'videocups pretrain' wrote: a run, or one of its checkpoints
    checkpoint: Path | None = setting(None, "checkpoint of 'videocups pretrain', for self-trained features")


@dataclass(frozen=True)
class Features:
    """The settings and, for a checkpoint, its content's hash: another training makes other features."""

    settings: FeatureSettings
    content: str = ""


def modules_of(kind: str) -> tuple[str, ...]:
    """Return the modules that features of a kind load when they are first used."""
    if kind == "classical":
        return ()
    return ("videocups.pretrain.features",) if kind == SELF_TRAINED else ("videocups.semantics.dino",)


def resolve(settings: FeatureSettings) -> Features:
    """Return the features with the content of their checkpoint; a checkpoint that is not there is named at once."""
    if settings.kind != SELF_TRAINED:
        return Features(settings)
    if settings.checkpoint is None:
        raise ConfigError("semantics.features.kind: self-trained needs semantics.features.checkpoint; name a run")
    from videocups.semantics.weights import file_sha256
    from videocups.train.checkpoint import MODEL, read_checkpoint

    return Features(settings, file_sha256(read_checkpoint(settings.checkpoint, "pretrain").folder / MODEL))


@lru_cache(maxsize=2)
def extractor_of(features: Features) -> FeatureExtractor:
    """Return the extractor, loaded once in a process."""
    named = features.settings
    return build_extractor(
        named.kind,
        classical=named.classical,
        weights=named.weights,
        checkpoint=named.checkpoint,
        device=device_of(named.kind),
    )
