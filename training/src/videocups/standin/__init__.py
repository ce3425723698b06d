"""The stand-in bundle: a tiny network with fixed weights and the final output contract."""
