"""Finds the sound files of corpora that were converted to another format than the published one, by their suffix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from superbench import BadCorpus

DECODED = (".flac", ".wav", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64")
"""Suffixes of files that are read as they are; the first ones are preferred."""
OTHERS = (".m4a", ".mp4", ".aac", ".webm", ".wma", ".sph", ".mka")
"""Suffixes of sound that has to be converted first."""


def sounds_in(files: Iterable[Path], published: str) -> dict[str, Path]:
    """Returns the sound files among `files` by their stem: the one with the `published` suffix, or else the first of `DECODED`.

    Raises `BadCorpus` if there is none, but sound that is not decoded here.
    """
    order = {suffix: place for place, suffix in enumerate((published, *DECODED))}
    found: dict[str, Path] = {}
    others = Counter[str]()
    example = Path()
    for path in sorted(files):
        suffix = path.suffix.lower()
        if path.name.startswith("._"):
            continue
        if suffix in OTHERS:
            others[suffix] += 1
            example = path
        elif suffix in order:
            earlier = found.get(path.stem)
            if earlier is None or order[suffix] < order[earlier.suffix.lower()]:
                found[path.stem] = path
    if others and not found:
        counts = " and ".join(f"{count} {suffix}" for suffix, count in others.most_common())
        raise BadCorpus(
            f"{example.parent} contains {counts} and no {published}; expected {published}, or {', '.join(DECODED[1:5])}. "
            f"Convert every file: ffmpeg -i {example.name} {example.stem}{published}"
        )
    return found


def remark_on(paths: Iterable[Path], published: str) -> tuple[str, ...]:
    """Returns a remark if any of these files has another suffix than the published one; else none."""
    counts = Counter(path.suffix.lower() for path in paths)
    other = counts.total() - counts[published]
    kinds = ", ".join(suffix for suffix, _ in counts.most_common() if suffix != published)
    lossy = " (a lossy copy gives other features)" if {".mp3", ".ogg", ".opus"} & counts.keys() else ""
    return (f"{other:,} of {counts.total():,} files are {kinds} in place of {published}{lossy}",) if other else ()
