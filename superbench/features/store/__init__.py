"""The feature store: `store.py` is its interface; the other modules are its index, files, pins, eviction and verification."""

from superbench.features.store.addition import Addition
from superbench.features.store.eviction import Holding
from superbench.features.store.sounds import Sound, sounds_at
from superbench.features.store.store import Entry, Store, default_root

__all__ = ["Addition", "Entry", "Holding", "Sound", "Store", "default_root", "sounds_at"]
