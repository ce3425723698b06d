"""From frames to semantic pseudo-classes: features, clusters, guided inference and a dense CRF."""
