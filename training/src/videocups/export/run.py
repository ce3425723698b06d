"""Export a network: trace, compare, lower the precision, compare again, and only then write the bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

from videocups import __version__
from videocups.export.fp16 import to_half
from videocups.export.graph import check_graph, export_graph, op_table
from videocups.export.int8 import PARTS, calibrate, quantize
from videocups.export.loss import Loss, Maps, fullest, loss_complaints, measure_loss, predict, shows_objects
from videocups.export.parity import measure_parity
from videocups.export.report import ExportReport, computed_precision, report_text, side_by_side, write_report
from videocups.export.torch_engine import TorchEngine
from videocups.export.views import Views, open_pictures, open_views
from videocups.model.network import PanopticNetwork
from videocups.model.static_network import StaticNetwork
from videocups.train.network_engine import NetworkEngine
from videocups_core.bundle import ModelBundle, write_bundle
from videocups_core.config import setting, to_mapping
from videocups_core.engine.base import Engine, InputSpec
from videocups_core.engine.onnx import OnnxConfig, OnnxEngine
from videocups_core.panoptic.merge import MergeConfig

PRECISIONS = ("fp32", "fp16", "int8")
Say = Callable[[str], None]


@dataclass(frozen=True)
class ExportConfig:
    """How a network becomes a bundle."""

    precision: str = setting("fp32", "fp32, fp16 or int8", choices=PRECISIONS)
    parity_frames: int = setting(6, "frames on which the outputs are compared one by one", minimum=1)
    loss_frames: int = setting(60, "frames on which STQ and PQ are compared", minimum=1)
    calibration_frames: int = setting(32, "frames on which int8 measures ranges", minimum=1)
    max_loss: float = setting(1.0, "points of STQ that a lower precision may cost", minimum=0)
    max_float_parts: int = setting(3, "parts that int8 may leave in float to stay below max_loss", minimum=0)
    semantic_stride: int = setting(1, "stride of the semantic map: 1, 2 or 4", choices=(1, 2, 4))
    # what an image costs on the vehicle grows with these; 0 keeps what the network was trained with
    detections: int = setting(0, "detections of an image; 0: as trained", minimum=0)
    proposals: int = setting(0, "boxes that the cascade looks at; 0: as trained", minimum=0)
    pre_nms: int = setting(0, "best anchors of each level before the suppression; 0: as trained", minimum=0)
    # thresholds of the merge that the bundle is written with; detections come with all scores
    merge: MergeConfig = field(default_factory=MergeConfig)


@dataclass(frozen=True)
class Exported:
    """A bundle on disk and what was measured on the way."""

    bundle: ModelBundle
    report: ExportReport


class ParityError(ValueError):
    """The exported graph does not say what the network says; nothing was written."""


def export_network(
    network: PanopticNetwork,
    folder: Path,
    spec: InputSpec,
    config: ExportConfig,
    *,
    model_id: str,
    clips: Path | None = None,
    calibration: Path | None = None,
    truth: str | None = None,
    origin: dict[str, Any] | None = None,
    say: Say = lambda text: None,
) -> Exported:
    """Write ``network`` as a bundle; ParityError, with the report in it, where it is not the same network any more.

    ``clips`` are compared on (the calibration's where there are none); ``truth``: see ``open_views``. ``origin`` goes
    into the bundle as its training config.
    """
    if config.precision == "int8" and calibration is None:
        raise ValueError("int8 measures the ranges of activations on frames; give clips with --calibrate")
    network = _resized(network, config).eval()
    views = open_views(clips or calibration, truth, config.loss_frames)
    frames = None if calibration is None else open_pictures(calibration, truth, config.calibration_frames)
    say(f"tracing {network.config.backbone.kind} for {spec.height}×{spec.width}")
    model = export_graph(StaticNetwork(network, spec.height, spec.width, config.semantic_stride))
    facts = {"classes": network.classes.bundle_classes, "input": spec, "merge": config.merge}
    facts |= {"training_config": origin or {"model": to_mapping(network.config)}, "versions": _versions()}
    with tempfile.TemporaryDirectory(prefix="videocups-export-") as scratch:
        trial = _Trial(network, views, Path(scratch), config, say, {"model_id": model_id, **facts})
        report, graph = trial.run(model, frames)
        if not report.passed:
            raise ParityError(f"the graph is not the network, nothing was written\n{report_text(report)}")
        picture = trial.picture(graph)
    bundle = write_bundle(folder, graph.SerializeToString(), **trial.facts)
    write_report(report, folder, picture)
    return Exported(bundle, report)


class _Trial:
    """One export's comparisons; graphs under test are bundles in a scratch folder, run as the vehicle runs them."""

    def __init__(
        self,
        network: PanopticNetwork,
        views: Views,
        scratch: Path,
        config: ExportConfig,
        say: Say,
        facts: dict[str, Any],
    ) -> None:
        self.views, self.config, self.say, self.facts = views, config, say, facts
        self.scratch = scratch
        self.spec: InputSpec = facts["input"]
        self.reference = NetworkEngine(network, self.spec)
        self.static = TorchEngine(network, self.spec)
        self._answer: list[list[Maps]] | None = None

    def run(self, model: onnx.ModelProto, frames: Views | None) -> tuple[ExportReport, onnx.ModelProto]:
        """Return what was found and the graph to ship."""
        config = self.config
        images = self.views.network_images(self.spec, config.parity_frames)
        self.say(f"comparing outputs on {len(images)} frames")
        static = measure_parity(self.reference, self.static, images)
        engine = self.engine(model)
        exported = measure_parity(self.reference, engine, images)
        complaints = [f"inference face: {text}" for text in static.complaints]
        complaints += [f"ONNX Runtime: {text}" for text in exported.complaints]
        graph, loss, calibrated_on = model, None, ""
        kept: tuple[str, ...] = ()
        if not complaints and config.precision == "fp32":
            loss = self._float_loss(engine)
        elif not complaints:
            graph, loss, kept, calibrated_on = self._lower(model, frames)
            check_graph(graph)
            engine = self.engine(graph)
        if loss is not None:
            complaints += loss_complaints(loss, config.precision, config.max_loss)
        graph = with_metadata(graph, self.facts, config.precision)
        info = engine.describe()
        report = ExportReport(
            model_id=self.facts["model_id"],
            precision=config.precision,
            computed_in=computed_precision(info),
            size_hw=(self.spec.height, self.spec.width),
            onnx_bytes=graph.ByteSize(),
            float_bytes=model.ByteSize(),
            operators=op_table(graph),
            frames_from=self.views.name,
            static=static,
            exported=exported,
            loss=loss,
            max_loss=config.max_loss,
            engine_notes=info.notes,
            float_parts=kept,
            calibrated_on=calibrated_on,
            complaints=tuple(complaints),
        )
        return report, graph

    def engine(self, model: onnx.ModelProto) -> OnnxEngine:
        """Load a graph as a vehicle would."""
        bundle = write_bundle(self.scratch, model.SerializeToString(), **self.facts)
        engine = OnnxEngine(bundle, OnnxConfig("cpu", threads=0))
        engine.load()
        return engine

    def picture(self, graph: onnx.ModelProto) -> Any:
        """Draw the torch network's answer and the graph's, where torch sees most of objects."""
        engine = self.engine(graph)
        names: dict[str, Engine] = {"torch": self.reference, f"bundle, {engine.describe().precision}": engine}
        return side_by_side(engine.bundle, names, fullest(self.views, self._answer or []).image_rgb)

    def _lower(
        self, model: onnx.ModelProto, frames: Views | None
    ) -> tuple[onnx.ModelProto, Loss, tuple[str, ...], str]:
        if self.config.precision == "fp16":
            half = to_half(model)
            return half, self._loss(half), (), ""
        assert frames is not None  # checked before anything was done
        images = frames.network_images(self.spec, self.config.calibration_frames)
        self.say(f"measuring ranges on {len(images)} frames of {frames.name}")
        ranges = calibrate(model, images)
        graph = quantize(model, ranges)
        loss = self._loss(graph)
        kept: list[str] = []
        while loss.stq_points > self.config.max_loss and len(kept) < self.config.max_float_parts:
            self.say(f"{loss.stq_points:.2f} points of STQ are lost (limit {self.config.max_loss:g})")
            trials, losses = {}, {}
            for part in (part for part in PARTS if part not in kept):
                self.say(f"trying {part} in float")
                trials[part] = quantize(model, ranges, (*kept, part))
                losses[part] = self._loss(trials[part])
            best = min(losses, key=lambda part: losses[part].stq_points)
            self.say(f"{best} stays in float: {loss.stq_points:.2f} → {losses[best].stq_points:.2f} points of STQ lost")
            if losses[best].stq_points >= loss.stq_points:
                break
            kept.append(best)
            graph, loss = trials[best], losses[best]
        return graph, loss, tuple(kept), f"{len(images)} frames of {frames.name}"

    def _float_loss(self, engine: OnnxEngine) -> Loss | None:
        """Compare what comes out of merge and tracker on a few frames; None where the network shows no object there."""
        views = self.views.fewer(self.config.parity_frames)
        answer = self._answer = predict(engine.bundle, self.reference, views)
        if views.dataset is None and not shows_objects(answer):
            return None
        return measure_loss(views, self.facts["classes"], answer, predict(engine.bundle, engine, views))

    def _loss(self, model: onnx.ModelProto) -> Loss:
        engine = self.engine(model)
        if self._answer is None:
            self.say(f"asking the torch network about {len(self.views)} frames")
            self._answer = predict(engine.bundle, self.reference, self.views)
        self.say(f"asking the {self.config.precision} graph about {len(self.views)} frames")
        return measure_loss(self.views, self.facts["classes"], self._answer, predict(engine.bundle, engine, self.views))


def _resized(network: PanopticNetwork, config: ExportConfig) -> PanopticNetwork:
    """Return the network with the counts that ``config`` names; its weights are the same."""
    old = network.config
    rpn = replace(
        old.rpn,
        pre_nms=config.pre_nms or old.rpn.pre_nms,
        post_nms_test=config.proposals or old.rpn.post_nms_test,
    )
    inference = replace(old.inference, max_detections=config.detections or old.inference.max_detections)
    changed = replace(old, rpn=rpn, inference=inference)
    if changed == old:
        return network
    copy = PanopticNetwork(changed, network.classes)
    copy.load_state_dict(network.state_dict())
    return copy


def with_metadata(model: onnx.ModelProto, facts: dict[str, Any], precision: str) -> onnx.ModelProto:
    """Return a copy of ``model`` that says what it is, and no more about the modules it was traced from."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for item in (*copy.graph.node, *copy.graph.value_info, *copy.graph.input, *copy.graph.output):
        del item.metadata_props[:]
        item.doc_string = ""
    del copy.graph.value_info[:]
    copy.producer_name, copy.producer_version = "videocups", __version__
    spec: InputSpec = facts["input"]
    entries = {
        "model_id": facts["model_id"],
        "precision": precision,
        "input": f"{spec.height}x{spec.width} {spec.resize}, uint8 RGB, NHWC; normalised inside",
        "classes": ",".join(
            f"{info.class_id}:{info.name}:{'thing' if info.is_thing else 'stuff'}" for info in facts["classes"]
        ),
        "contract": "docs/bundle.md, schema 1",
        **{f"version_{name}": version for name, version in facts["versions"].items()},
    }
    del copy.metadata_props[:]
    for key, value in entries.items():
        copy.metadata_props.add(key=key, value=value)
    return copy


def _versions() -> dict[str, str]:
    import onnxruntime
    import torch

    return {
        "videocups": __version__,
        "torch": str(torch.__version__),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
