"""Datasets: where the official files lie, what their pixels mean, which classes are scored."""

from __future__ import annotations

from videocups.evaluate.datasets.dataset import TableDataset, open_dataset, resize_nearest
from videocups.evaluate.datasets.spec import DatasetSpec, dataset_names, load_spec
from videocups.evaluate.datasets.types import Dataset, Frame, LayoutError, Sequence

__all__ = [
    "Dataset",
    "DatasetSpec",
    "Frame",
    "LayoutError",
    "Sequence",
    "TableDataset",
    "dataset_names",
    "load_spec",
    "open_dataset",
    "resize_nearest",
]
