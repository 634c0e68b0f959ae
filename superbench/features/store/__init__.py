"""The feature store: `store.py` is what others use; the rest is its index, its files, who needs them, and what may go."""

from superbench.features.store.sounds import Sound, sounds_at
from superbench.features.store.store import Entry, Holding, Store, default_root

__all__ = ["Entry", "Holding", "Sound", "Store", "default_root", "sounds_at"]
