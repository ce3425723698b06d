"""From the options of ``videocups export`` to a bundle."""

from __future__ import annotations

import argparse
from dataclasses import replace

from videocups.export.run import ExportConfig, Exported, Say, export_network
from videocups.model.load import KIND, load_network, trained_size
from videocups.standin.commands import parse_size
from videocups.train.checkpoint import read_checkpoint
from videocups.train.config_file import read_config
from videocups.train.network_engine import input_spec
from videocups_core.labels import read_classes


def export_checkpoint(options: argparse.Namespace, say: Say) -> Exported:
    """Read the checkpoint and export it as the options say."""
    config = replace(read_config(ExportConfig, options.config, options.set), precision=options.precision)
    checkpoint = read_checkpoint(options.checkpoint, KIND)
    height, width = parse_size(options.size) if options.size else trained_size(checkpoint)
    network = load_network(checkpoint.folder)
    if options.labels is not None:
        network.classes = network.classes.renamed(read_classes(options.labels))
    return export_network(
        network,
        options.out,
        input_spec(network, (height, width)),
        config,
        model_id=options.model_id or options.out.resolve().name,
        clips=options.clips,
        calibration=options.calibrate,
        truth=options.truth,
        origin={**checkpoint.config, "checkpoint": {"name": checkpoint.folder.name, "step": checkpoint.step}},
        say=say,
    )
