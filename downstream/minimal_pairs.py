"""Minimal pairs for spoken language models: readers of sWUGGY, sBLIMP, tSC and SALMon in the layouts of their releases.

sWUGGY, sBLIMP: ZeroSpeech 2021 (Nguyen et al. 2020, "The Zero Resource Speech Benchmark 2021", arXiv 2011.11588), CC BY 4.0;
`lexical/dev/gold.csv` and `syntactic/dev/gold.csv` list the sounds next to them. A word and its non-word, a sentence and its
ungrammatical twin, have the same id and voice. The lists of the test split are not released.
tSC: Hassid et al. (2023), "Textually pretrained speech language models", arXiv 2305.13009: `N_STORY_correct.wav` and
`M_STORY_incorrect.wav`, the same beginning of a story with its end and with the end of another story.
SALMon: Maimon et al. (2024), "A suite for acoustic language model evaluation", arXiv 2409.07437: in a folder for each aspect of
sound, `sample_N_0.wav` is consistent, `sample_N_1.wav` is not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from downstream.shared import miniature_pairs
from downstream.shared.lists import must_be_there, only_once, rows_of
from superbench import Audio, BadCorpus, Pair, PairSet

ZEROSPEECH = (
    "Download the evaluation data of ZeroSpeech 2021 (zerospeech.com) and unpack it so that lexical/ and syntactic/ lie in the "
    "data folder, or one folder deeper."
)
STORIES = (
    "Download tSC from the page of TWIST (arXiv 2305.13009) and unpack it so that tSC/ lies in the data folder, or one folder "
    "deeper."
)
SUITE = (
    "Download salmon_benchmark.zip (github.com/slp-rl/salmon) and unpack it so that its folders lie in the data folder, or one "
    "folder deeper."
)
ASPECTS = (
    "bg_alignment", "bg_all_consistency", "bg_domain_consistency", "gender_consistency", "rir_consistency",
    "sentiment_alignment", "sentiment_consistency", "speaker_consistency",
)  # fmt: skip

Row = Mapping[str, str]


def read_words(root: Path) -> list[Pair]:
    """Returns the pairs of sWUGGY; parts are words of LibriSpeech and words that do not occur in it (frequency 0)."""

    def part(row: Row) -> str:
        return "in vocabulary" if row["frequency"].strip() not in ("", "0", "0.0") else "out of vocabulary"

    return _gold(root / "lexical" / "dev", ("frequency",), lambda row: row["id"], part)


def read_sentences(root: Path) -> list[Pair]:
    """Returns the pairs of sBLIMP; parts are the types of sentences."""
    return _gold(
        root / "syntactic" / "dev", ("type", "subtype"), lambda row: f"{row['type']} {row['subtype']} {row['id']}",
        lambda row: row["type"],
    )  # fmt: skip


def _gold(folder: Path, more: Sequence[str], item: Callable[[Row], str], part: Callable[[Row], str]) -> list[Pair]:
    """Returns the pairs of a list of ZeroSpeech 2021: sounds of the same item and voice, one of which is correct."""
    listing = folder / "gold.csv"
    rows = list(rows_of(listing, ("id", "filename", "voice", "correct", *more), ZEROSPEECH))
    only_once(((row["filename"], f"line {number}") for number, row in rows), str(listing), "sounds", ZEROSPEECH)
    must_be_there((_sound(folder, row) for _, row in rows), str(listing), ZEROSPEECH)
    sides: dict[tuple[str, str], dict[str, list[tuple[int, Row]]]] = defaultdict(lambda: {"1": [], "0": []})
    for number, row in rows:
        if row["correct"] not in ("0", "1"):
            raise BadCorpus(f"{listing}, line {number}: expected correct 0 or 1, found {row['correct']!r}. {ZEROSPEECH}")
        sides[item(row), row["voice"]][row["correct"]].append((number, row))
    pairs = []
    for (name, voice), side in sides.items():
        if len(side["1"]) != len(side["0"]):
            raise BadCorpus(
                f"{listing}, line {[*side['1'], *side['0']][0][0]}: {name!r}, voice {voice}, has {len(side['1'])} correct and "
                f"{len(side['0'])} incorrect sounds: a sound has no partner. {ZEROSPEECH}"
            )
        for (_, right), (_, wrong) in zip(side["1"], side["0"], strict=True):
            sounds = Audio(_sound(folder, right)), Audio(_sound(folder, wrong))
            pairs.append(Pair(name, sounds[0], sounds[1], voice=voice, part=part(right)))
    return pairs


def _sound(folder: Path, row: Row) -> Path:
    return folder / f"{row['filename'].removesuffix('.wav')}.wav"


def read_stories(root: Path) -> list[Pair]:
    """Returns the pairs of tSC: the sounds of a story, one with each end."""
    folder = root / "tSC"
    stories: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in _sounds(folder, STORIES):
        named = re.fullmatch(r"(\d+)_(?:(.+)_)?(correct|incorrect)", path.stem)
        if named is None:
            raise BadCorpus(
                f"{path}: expected names such as 0_STORY_correct.wav and 1_STORY_incorrect.wav, with the same STORY. {STORIES}"
            )
        _once(stories[named[2] or named[1]], named[3], path, STORIES)
    return list(_partners(stories, ("correct", "incorrect"), folder, STORIES, ""))


def read_suite(root: Path) -> list[Pair]:
    """Returns the pairs of SALMon; parts are the aspects of sound whose folders exist."""
    pairs: list[Pair] = []
    for aspect in ASPECTS:
        samples: dict[str, dict[str, Path]] = defaultdict(dict)
        for path in _sounds(root / aspect, SUITE) if (root / aspect).is_dir() else ():
            named = re.fullmatch(r"sample_(\d+)_([01])", path.stem)
            if named is None:
                raise BadCorpus(f"{path}: expected names such as sample_0_0.wav and sample_0_1.wav. {SUITE}")
            _once(samples[named[1]], named[2], path, SUITE)
        pairs += _partners(samples, ("0", "1"), root / aspect, SUITE, aspect)
    return pairs


def _sounds(folder: Path, advice: str) -> list[Path]:
    paths = sorted(path for path in folder.glob("*.wav") if not path.name.startswith("._"))
    if not paths:
        raise BadCorpus(f"{folder} contains no .wav file. {advice}")
    return paths


def _once(sides: dict[str, Path], side: str, path: Path, advice: str) -> None:
    if side in sides:
        raise BadCorpus(f"{path} and {sides[side].name} are the same side of a pair. {advice}")
    sides[side] = path


def _partners(
    named: Mapping[str, Mapping[str, Path]], sides: tuple[str, str], folder: Path, advice: str, part: str
) -> Iterator[Pair]:
    """Yields a pair for each name that has a sound on both sides; raises `BadCorpus` for a sound without a partner."""
    for name, paths in named.items():
        if alone := [side for side in sides if side not in paths]:
            present = next(iter(paths.values())).name
            raise BadCorpus(f"{folder}: {present} has no partner (no sound of {name!r} ends in _{alone[0]}.wav). {advice}")
        yield Pair(name, Audio(paths[sides[0]]), Audio(paths[sides[1]]), part=part)


SWUGGY = PairSet(
    name="swuggy", title="sWUGGY: is a word likelier than a non-word?", paper="arXiv 2011.11588", licence="CC BY 4.0",
    obtain=ZEROSPEECH, folders=("lexical",), read=read_words, synth=miniature_pairs.write_words,
)  # fmt: skip
SBLIMP = PairSet(
    name="sblimp", title="sBLIMP: is a grammatical sentence likelier?", paper="arXiv 2011.11588", licence="CC BY 4.0",
    obtain=ZEROSPEECH, folders=("syntactic",), read=read_sentences, synth=miniature_pairs.write_sentences,
)  # fmt: skip
TSC = PairSet(
    name="tsc", title="tSC: is the end of a story likelier than that of another story?", paper="arXiv 2305.13009",
    licence="see the page of TWIST", obtain=STORIES, folders=("tSC",), read=read_stories,
)  # fmt: skip
SALMON = PairSet(
    name="salmon", title="SALMon: is a voice, emotion, room or background that stays likelier?", paper="arXiv 2409.07437",
    licence="see its page", obtain=SUITE, folders=ASPECTS, read=read_suite, synth=miniature_pairs.write_changes,
)  # fmt: skip
