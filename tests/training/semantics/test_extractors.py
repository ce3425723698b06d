from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from videocups.semantics.extractors import NAMES, build_extractor
from videocups.semantics.features_classical import ClassicalFeaturesConfig


def test_classical_features_need_nothing():
    extractor = build_extractor("classical", classical=ClassicalFeaturesConfig(stride=8))
    features = extractor.extract(np.zeros((16, 24, 3), np.uint8))
    assert features.shape == (2, 3, extractor.dim)
    code = (
        "import sys; from videocups.semantics.extractors import build_extractor; build_extractor('classical');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", NAMES[1:])
def test_learned_features_ask_for_their_weights(name, tmp_path):
    with pytest.raises(ValueError, match=f"weights fetch {name}"):
        build_extractor(name, weights=tmp_path)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="there are classical, dino-vits8"):
        build_extractor("resnet")
