"""``videocups label`` takes refined flow by the name of its run."""

from __future__ import annotations

import numpy as np
import pytest

from videocups.cues.refined.estimator import RefinedFlow
from videocups.pipeline.cue_formats import flow_from_arrays
from videocups.pipeline.formats import decode
from videocups.pipeline.label_config import label_config
from videocups.pipeline.run import RunConfig, run_stages
from videocups.pipeline.workspace import Workspace
from videocups_core.clip import Clip


def run(street, **learned):
    config = label_config({"preset": "fast", "cues": {"compensate": False}, "learned": learned}, "test")
    stages = config.stages().up_to(["flow"])
    return dict(run_stages(stages, Workspace.open(street.parent), RunConfig(executor="inline")).ran)


def test_refined_flow_takes_the_place_of_classical_flow(street, trained):
    assert run(street, flow=str(trained.folder.parent))["flow"] == 2
    clip = Clip(street)
    flow = flow_from_arrays(decode(clip.path("flow", 1, ".npz")))
    expected = RefinedFlow(trained.folder).flow_px(clip.frame_rgb(1), clip.frame_rgb(2))
    np.testing.assert_allclose(flow.forward_px, expected, atol=0.02)


def test_a_network_for_flow_is_no_network_for_depth(street, trained):
    with pytest.raises(ValueError, match="checkpoint of 'refined', but 'dynamo' is needed"):
        run(street, depth=str(trained.folder))
