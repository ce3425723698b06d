"""Stages over clips: planned from manifests, run by executors, resumed after anything."""
