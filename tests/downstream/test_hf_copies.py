"""Copies of `superb` from the Hugging Face hub become the original layouts, which the tasks then read."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from downstream.hf_copies import Imported, import_copy, kind_of, write_rows
from superbench import BadCorpus, Corpora, MissingExtra
from superbench.plugins import task


def sound(form: str = "WAV") -> bytes:
    """A tenth of a second of noise."""
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * np.random.default_rng(0).standard_normal(1_600), 16_000, format=form)
    return buffer.getvalue()


def row(file: str, form: str = "WAV", **more: Any) -> dict[str, Any]:
    """A row as parquet gives it."""
    return {"file": file, "audio": {"bytes": sound(form), "path": Path(file).name}, **more}


def written(root: Path, kind: str, **splits: list[dict[str, Any]]) -> Corpora:
    """Everything that the rows become."""
    imported = Imported(root)
    for split, rows in splits.items():
        write_rows(kind, split, rows, imported, Path("x.parquet"))
    imported.finish()
    return Corpora(root)


def test_asr_becomes_librispeech(tmp_path: Path) -> None:
    def rows(speaker: int) -> list[dict[str, Any]]:
        names = [f"{speaker}-7-{number:04}" for number in (1, 0)]
        return [row(f"/x/{name}.flac", "FLAC", id=name, text="SOME WORDS", speaker_id=speaker, chapter_id=7) for name in names]

    corpora = written(tmp_path, "asr", train=rows(1), dev=rows(2), test=rows(3))
    (fold,) = task("asr").read(corpora)
    assert [item.id for item in fold.test.items] == ["3-7-0000", "3-7-0001"]
    assert fold.test.items[0].label == "SOME WORDS"
    assert fold.remarks == ()
    assert fold.test.items[0].audio.path.read_bytes() == sound("FLAC")


def test_si_becomes_voxceleb_with_its_list(tmp_path: Path) -> None:
    splits = {
        split: [row(f"/data/wav/id1000{number}/abc-_1/0000{number}.wav", label=f"id1000{number}")]
        for number, split in enumerate(("train", "dev", "test"), 1)
    }
    (fold,) = task("sid").read(written(tmp_path, "si", **splits))
    assert [item.label for split in fold.splits for item in split.items] == ["id10001", "id10002", "id10003"]


def test_ks_becomes_the_two_archives(tmp_path: Path) -> None:
    written(
        tmp_path, "ks", train=[row("/a/yes/0165e0e8_nohash_0.wav", label="yes")],
        test=[row("/b/_unknown_/0c40e715_nohash_1.wav", label="_unknown_")],
    )  # fmt: skip
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.wav"))
    assert names == [
        "SpeechCommands/speech_commands_test_set_v0.01/_unknown_/0c40e715_nohash_1.wav",
        "SpeechCommands/speech_commands_v0.01/yes/0165e0e8_nohash_0.wav",
    ]


def test_ic_becomes_fluent_speech_commands(tmp_path: Path) -> None:
    intent = {"text": 'Turn, "it" on', "action": "activate", "object": "lights", "location": "none", "speaker_id": "abc"}
    splits = {split: [row(f"/x/wavs/speakers/abc/{split}.wav", **intent)] for split in ("train", "dev", "test")}
    written(tmp_path, "ic", **splits)
    lines = (tmp_path / "fluent_speech_commands_dataset/data/valid_data.csv").read_text().splitlines()
    assert lines[0] == ",path,speakerId,transcription,action,object,location"
    assert lines[1] == '0,wavs/speakers/abc/dev.wav,abc,"Turn, ""it"" on",activate,lights,none'


@pytest.mark.parametrize("file", ["../../etc/passwd", "/x/yes/../../evil.wav", "yes/a b.wav"])
def test_a_name_of_another_form_writes_nothing(tmp_path: Path, file: str) -> None:
    with pytest.raises(BadCorpus, match="expected one such as in the published corpus"):
        written(tmp_path / "out", "ks", train=[row(file, label="yes")])
    assert not (tmp_path / "out").exists()


def test_a_copy_without_sound_says_how_to_make_one_with_it(tmp_path: Path) -> None:
    with pytest.raises(BadCorpus, match="has no sound, only its path"):
        written(tmp_path, "ks", train=[{"file": "a/yes/x.wav", "audio": {"bytes": None, "path": "x.wav"}, "label": "yes"}])


def test_a_configuration_that_is_not_imported_is_named() -> None:
    assert kind_of(["file", "audio", "label"], {"label": ["id10001", "id10002"]}, Path("x")) == "si"
    with pytest.raises(BadCorpus, match="These are imported: asr, ks, si, ic"):
        kind_of(["file", "audio", "label"], {"label": ["neu", "hap"]}, Path("x"))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=re.escape("speech-superbench[parquet]")):
        import_copy(tmp_path, tmp_path / "out")


def test_parquet_files_are_read_with_the_names_of_their_classes(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = [f"id1000{number}" for number in range(1, 4)]
    features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    for number, split in enumerate(("train", "validation", "test")):
        table = pyarrow.Table.from_pylist([row(f"wav/{names[number]}/abc/00001.wav", label=number)])
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        parquet.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    assert import_copy(tmp_path, tmp_path / "out") == {"si test": 1, "si train": 1, "si dev": 1}
    (fold,) = task("sid").read(Corpora(tmp_path / "out"))
    assert [item.label for split in fold.splits for item in split.items] == names
