"""QUESST 2014, the corpus of QbE: reads its lists and its ground truth, and writes a miniature of it.

Corpus: Anguera et al., "Query by example search on speech at MediaEval 2014": 12 492 documents, 560 / 555 queries, six
languages, 8 kHz. SUPERB searches the English ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from downstream.shared.lists import lines_of, only_once, unfinished
from downstream.shared.speech import Line, speak, voice
from superbench import BadCorpus, Corpora, IncompleteCorpus

ENGLISH = "nnenglish"
NO_KEYWORD = "NO_KEYWORD"
"""Marks a document without queries in the ground truth."""

AGAIN = "Take the list from the corpus again."
LAYOUT = """\
quesst14Database/scoring/language_key_{utterances,dev,eval}.lst   "<folder>/<path from here> <language>", English: nnenglish
quesst14Database/scoring/groundtruth_quesst14_{dev,eval}/quesst14_{dev,eval}.rttm
    "LEXEME <document> 1 <start> <length> <query> lex SELF <NA>"; NO_KEYWORD in the place of the query: there is none
quesst14Database/{Audio,dev_queries,eval_queries}/*.wav
"""
OBTAIN = """\
Free for research, from Brno University of Technology: https://speech.fit.vutbr.cz/files/quesst14Database.tgz; unpacked under
the data root it makes quesst14Database/ with Audio/, dev_queries/, eval_queries/ and scoring/ (lists and truth, all needed).
"""
RATE = 8_000


@dataclass(frozen=True)
class Search:
    """Queries of a split and documents to search: files by id (the stem), and pairs (query, document) that match.

    `queries_absent` counts queries of other languages that have a target, `documents_absent` documents of other languages;
    `targets_absent` the targets of an English query outside the English documents.
    """

    queries: Mapping[str, Path]
    documents: Mapping[str, Path]
    targets: frozenset[tuple[str, str]]
    queries_absent: int
    documents_absent: int
    targets_absent: Mapping[str, int]


def search(corpora: Corpora, split: str) -> Search:
    """Reads the English search of `split` (`dev` or `eval`). It does not check that the sound files exist.

    Raises `MissingCorpus` for a missing list, `BadCorpus` for a repeated id, a malformed line, or a split without queries,
    documents or targets.
    """
    root = corpora.place("quesst14Database")
    queries, strangers = _listed(root, split)
    documents, foreign = _listed(root, "utterances")
    path = _file(root, f"groundtruth_quesst14_{split}/quesst14_{split}.rttm")
    truth = _truth(path, split)
    _whole(path, {query for query, _ in truth} - queries.keys() - strangers)
    targets = frozenset((query, document) for query, document in truth if query in queries and document in documents)
    if not targets:
        raise BadCorpus(f"{path} has no English query ({ENGLISH}) in any English document. Unpack the scoring folder again.")
    elsewhere = Counter(query for query, document in truth if query in queries and document not in documents)
    others = {query for query, _ in truth} - queries.keys()
    return Search(
        queries=queries,
        documents=documents,
        targets=targets,
        queries_absent=len(others),
        documents_absent=len(foreign),
        targets_absent=dict(elsewhere),
    )


def _file(root: Path, name: str) -> Path:
    path = root / "scoring" / name
    if not path.is_file():
        raise IncompleteCorpus(f"{path} does not exist. Unpack the scoring folder of QUESST 2014 into {root / 'scoring'}.")
    return path


def _listed(root: Path, name: str) -> tuple[dict[str, Path], set[str]]:
    """Returns the English files by stem, in the order of the list, and the stems of all other languages."""
    path = _file(root, f"language_key_{name}.lst")
    english: dict[str, Path] = {}
    others: dict[str, str] = {}
    named: list[tuple[str, str]] = []
    for number, line in lines_of(path, AGAIN):
        fields = line.split()
        _, _, inside = fields[0].partition("/")
        if len(fields) != 2 or not inside:
            raise BadCorpus(f'{path}, line {number}: expected "<folder>/<path> <language>", found {line[:200]!r}. {AGAIN}')
        stem = Path(inside).stem
        named.append((stem, f"line {number}"))
        if fields[1] == ENGLISH:
            english[stem] = root / inside
        else:
            others[stem] = fields[1]
    only_once(named, str(path), "files", AGAIN)
    if not english:
        raise BadCorpus(f"{path} lists nothing English ({ENGLISH}). {AGAIN}")
    _whole(path, {last for last in list(others.values())[-1:] if ENGLISH.startswith(last)})
    return english, set(others)


def _whole(path: Path, suspects: set[str]) -> None:
    """Raises `BadCorpus` if the last line was cut off: it has no line feed and contains an unknown name."""
    last = unfinished(path, AGAIN)
    if any(name in last for name in suspects):
        raise BadCorpus(f"{path} is cut off: it ends in the middle of a line, {last[:200]!r}. {AGAIN}")


def _truth(path: Path, split: str) -> set[tuple[str, str]]:
    """Reads pairs (query, document) of an RTTM file, for all languages; a query that occurs twice in a document counts once.

    Lines that do not begin with LEXEME are comments or headers; lines with `NO_KEYWORD` name documents without queries.
    """
    pattern = re.compile(rf"LEXEME\s+(\S+)\s.*?(quesst14_{split}_\d+)")
    pairs: set[tuple[str, str]] = set()
    for number, line in lines_of(path, AGAIN):
        if not line.startswith("LEXEME") or NO_KEYWORD in line.split():
            continue
        match = pattern.match(line)
        if match is None:
            raise BadCorpus(
                f'{path}, line {number}: expected "LEXEME <document> ... quesst14_{split}_<number> ...", or {NO_KEYWORD} for '
                f"the query, found {line[:200]!r}. {AGAIN}"
            )
        pairs.add((match[2], match[1]))
    return pairs


# ---------------------------------------------------------------- the miniature

TERMS: Mapping[str, str] = {
    "person": """grandmother|captain|our gardener|doctor robinson|policeman|professor hill|musicians|neighbour|uncle ben|
        carpenter|a young dentist|thompson|orchestra|assistant|the butcher|fishermen|my daughter|librarian|astronaut|
        lady margaret""",
    "action": """repaired|was painting|remembered|looking for|collected|has forgotten|described|buying|discovered|
        gave away|carried|counted|delivered|talked about|ordered|returned|borrowed|dreamed of|polished|never noticed""",
    "thing": """bicycle|orange marmalade|telescope|seven candles|gloves|umbrella|biscuits|the old typewriter|ladder|
        silver buttons|dictionary|vegetables|hammock|earrings|newspaper|cotton pillows|violin|kettle|microscope|
        wild mushrooms""",
    "place": """railway station|cathedral|on saturday|behind the museum|waterfall|before breakfast|laboratory|balcony|
        at the harbour|festival|beside the canal|after the concert|november|pharmacy|meadow|by candlelight|university|
        holidays|in the basement|motorway""",
}
"""Terms of one to three words; terms at even positions are queries of dev, the others of eval."""

DOCUMENTS, DOCUMENT_SPEAKERS, QUERY_SPEAKERS = 300, 60, 20
FOREIGN = ("albanian", "basque", "czech", "romanian", "slovak")
FOREIGN_DOCUMENTS, FOREIGN_QUERIES, FOREIGN_TARGETS = 60, 10, 4
FIRST_VOICE = 45_000


def write_miniature(root: Path, seed: int) -> None:
    """Writes `root/quesst14Database`: 300 documents, 40 + 40 queries (about 10 minutes), all 8 kHz.

    Speakers of documents, of dev queries and of eval queries differ. The lists and the ground truth contain other languages, as
    in the corpus; their sound is not written, because it is never read. A complete tree is kept.
    """
    top = root / "quesst14Database"
    finished = top / "scoring" / ".complete"
    if finished.is_file():
        return
    random = np.random.default_rng([seed, FIRST_VOICE])
    terms = [[term.strip() for term in row.split("|")] for row in TERMS.values()]
    names = _names("quesst14_{:05d}", DOCUMENTS + FOREIGN_DOCUMENTS, random)
    sentences = {name: _sentence(terms, random) for name in names[:DOCUMENTS]}
    foreign = names[DOCUMENTS:]
    lines = [
        _line(top / "Audio" / f"{name}.wav", " ".join(words), seed, number % DOCUMENT_SPEAKERS, random)
        for number, (name, words) in enumerate(sentences.items())
    ]
    _write_list(top, "utterances", "Audio", [*sentences], foreign)
    for half, split in enumerate(("dev", "eval")):
        chosen = [term for row in terms for term in row[half::2]]
        query_names = _names(f"quesst14_{split}_{{:04d}}", len(chosen) + FOREIGN_QUERIES, random)
        queries, foreign_queries = dict(zip(query_names, chosen, strict=False)), query_names[len(chosen) :]
        first = DOCUMENT_SPEAKERS + half * QUERY_SPEAKERS
        lines += [
            _line(top / f"{split}_queries" / f"{name}.wav", term, seed, first + number % QUERY_SPEAKERS, random)
            for number, (name, term) in enumerate(queries.items())
        ]
        pairs = [(query, document) for query, term in queries.items() for document, words in sentences.items() if term in words]
        pairs += [(query, document) for query in foreign_queries for document in _some(foreign, random)]
        _write_truth(top, split, names, pairs)
        _write_list(top, split, f"{split}_queries", [*queries], foreign_queries)
    speak(lines)
    finished.write_text(f"seed {seed}\n")


def _sentence(terms: Sequence[Sequence[str]], random: np.random.Generator) -> list[str]:
    """Draws one term of each row except one."""
    without = int(random.integers(len(terms)))
    return [str(random.choice(list(row))) for number, row in enumerate(terms) if number != without]


def _names(form: str, count: int, random: np.random.Generator) -> list[str]:
    """Returns names in random order, so that a number does not reveal the language."""
    return [form.format(number) for number in random.permutation(count) + 1]


def _some(names: Sequence[str], random: np.random.Generator) -> list[str]:
    return [str(name) for name in random.choice(list(names), FOREIGN_TARGETS, replace=False)]


def _line(path: Path, text: str, seed: int, speaker: int, random: np.random.Generator) -> Line:
    speaker_voice = voice(seed, FIRST_VOICE + speaker)
    speed, pitch = float(random.uniform(0.95, 1.3)), float(random.uniform(0.9, 1.1))
    return Line(
        path=path,
        text=text,
        voice=speaker_voice,
        seed=int(random.integers(2**31)),
        speed=speed,
        pitch=pitch,
        snr=(5.0, 20.0),
        sample_rate=RATE,
    )


def _write_list(top: Path, name: str, folder: str, english: Sequence[str], foreign: Sequence[str]) -> None:
    languages = dict.fromkeys(english, ENGLISH) | {stem: FOREIGN[i % len(FOREIGN)] for i, stem in enumerate(foreign)}
    path = top / "scoring" / f"language_key_{name}.lst"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{top.name}/{folder}/{stem}.wav {languages[stem]}\n" for stem in sorted(languages)))


def _write_truth(top: Path, split: str, documents: Sequence[str], pairs: Sequence[tuple[str, str]]) -> None:
    """Writes the ground truth in the organisers' form: a line for each pair, and for each document without queries."""
    matched = {document for _, document in pairs}
    rows = sorted([*pairs, *((NO_KEYWORD, document) for document in documents if document not in matched)])
    path = top / "scoring" / f"groundtruth_quesst14_{split}" / f"quesst14_{split}.rttm"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"LEXEME {document} 1 0.000 1.00 {word} lex SELF <NA>\n" for word, document in rows))
