"""Files for the official leaderboard: text files with an item and its prediction in each line.

Paths and names: protocol of SUPERB, 3.2 and the paragraph `Upload` of each task.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np

from superbench import MissingExtra, Prediction, Upload


def lines(path: str, named: Callable[[str], str] = str) -> Callable[[Sequence[Prediction], int], Upload]:
    """Returns an `upload` for a task: lines `<name> <prediction>` in `path`; with `{fold}` in `path`, one file for each fold.

    >>> write = lines("er_{fold}_public/predict.txt")
    >>> write([Prediction("Ses01F_impro01_F000", "fold1", (), "neu", "hap")], 320).files
    {'er_fold1_public/predict.txt': b'Ses01F_impro01_F000 hap\\n'}
    """

    def write(predictions: Sequence[Prediction], hop: int) -> Upload:
        files: dict[str, list[str]] = {}
        for answer in predictions:
            files.setdefault(path.format(fold=answer.fold), []).append(f"{named(answer.id)} {answer.prediction}\n")
        return Upload({name: "".join(rows).encode() for name, rows in files.items()})

    return write


def dashed(path: str) -> str:
    """Returns folders and file joined by dashes, without the suffix.

    >>> dashed("id10270/x6uYqmx31kE/00001.wav")
    'id10270-x6uYqmx31kE-00001'
    """
    return path.removesuffix(".wav").replace("/", "-")


def hdf5(name: str, array: np.ndarray) -> bytes:
    """Returns an HDF5 file with one array; raises `MissingExtra` without h5py."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("The upload of HDF5 files", "h5py", "export") from error
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset(name, data=array, track_times=False)
    return buffer.getvalue()
