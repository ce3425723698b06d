"""RAFT trained without labels, by SMURF's losses; all but the settings needs the extra ``train``."""
