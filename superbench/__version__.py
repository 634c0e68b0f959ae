"""The version of superbench; a module of its own, so that whoever names it imports nothing else."""

from __future__ import annotations

__version__ = "0.1.0"
