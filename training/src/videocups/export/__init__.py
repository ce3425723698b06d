"""From a checkpoint to what runs on the vehicle: ONNX graphs, bundles, engines and their figures."""
