"""The feature store: `store.py` is what others use; the rest is its index, its files, who needs them, and what may go."""

from superbench.features.store.store import Entry, Holding, Sound, Store, default_root

__all__ = ["Entry", "Holding", "Sound", "Store", "default_root"]
