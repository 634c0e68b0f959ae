"""The one tree of errors.

Every error that a user can cause is a `SuperbenchError`: one paragraph that says what was found, what was
expected and what to do next. `CommandError` means that the command was wrong (exit status 2); every other one that the
job failed (exit status 1). `assert` is for our own bugs and is never caught.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class SuperbenchError(Exception):
    """Something that a person can put right; its text is all that they need to read."""

    exit_status = 1


class CommandError(SuperbenchError):
    """The command was wrong: a bad option, or options that do not go together."""

    exit_status = 2


class Occupied(CommandError):
    """Results of another model, or of other options, lie where a job's own would go."""


class UnknownName(CommandError):
    """A name that nobody registered; the nearest ones are offered.

    >>> str(UnknownName("upstream", "fbnk", ["fbank", "apc"], "superbench list upstreams"))
    "No upstream is called 'fbnk'. Did you mean fbank? `superbench list upstreams` shows all 2."
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], see: str) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        guess = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"No {kind} is called {name!r}.{guess} `{see}` shows all {len(names)}.")


class MissingExtra(SuperbenchError):
    """A package of an optional extra is needed and absent."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'speech-superbench[{extra}]'"
        )


class BrokenPlugin(SuperbenchError):
    """A plugin failed to import, or is not what its entry point promises."""


class MissingCorpus(SuperbenchError):
    """A corpus is not under the data root."""


class IncompleteCorpus(MissingCorpus):
    """A corpus is under the data root, but a part of it that the task needs is not: a split, a list, a lexicon."""


class BadCorpus(SuperbenchError):
    """A corpus is there, but a file, a line or a layout in it is not as published."""


class MissingFiles(BadCorpus):
    """Files that a corpus lists and that are not there: the first five by name, then how many more.

    >>> print(MissingFiles([Path("a.wav")], 9, "train.csv", "Unpack it again."))
    a.wav is listed in train.csv but not there. Unpack it again.
    >>> print(MissingFiles([Path("a.wav"), Path("b.wav")], 9, "train.csv", "Unpack it again."))
    2 of the 9 files listed in train.csv are not there: a.wav, b.wav. Unpack it again.
    """

    def __init__(self, missing: Sequence[Path], of: int, listing: str, advice: str) -> None:
        self.missing = tuple(missing)
        many = f"{len(missing)} of the {of} files listed in {listing} are not there: {first_of(missing)}."
        super().__init__(f"{f'{missing[0]} is listed in {listing} but not there.' if len(missing) == 1 else many} {advice}")


FIRST = 5
"""How many of many are named."""


def first_of(things: Sequence[object], few: int = FIRST, between: str = ", ") -> str:
    """The first few, and how many more there are.

    >>> first_of("abc"), first_of("abcdefg")
    ('a, b, c', 'a, b, c, d, e … and 2 more')
    """
    more = f" … and {len(things) - few} more" if len(things) > few else ""
    return between.join(str(thing) for thing in things[:few]) + more


class BadAudio(SuperbenchError):
    """A sound file that cannot be used: unreadable, truncated, empty, or with NaN in it."""


class BadCheckpoint(SuperbenchError):
    """Weights that do not belong to the model that was asked to load them."""


class BadUpstream(SuperbenchError):
    """A model that breaks the contract: frames, layers, NaN, parameters that move."""


class BadHead(SuperbenchError):
    """A head that cannot be trained: every learning rate of its sweep diverged."""


class StoreError(SuperbenchError):
    """The feature store cannot be read or written."""


class DamagedFile(StoreError):
    """A file, or a row of an index, does not hold what was written: a bit was flipped, or a part was cut off."""


class Unavailable(StoreError):
    """A board's storage that is away, full or busy: what was asked of it can be asked again later."""


class BadResult(SuperbenchError):
    """A result, a prediction file or a bundle that does not say what it must."""


class Refusal(BadResult):
    """A submission that a board does not take. `status` is what a server answers with, `code` the reason in one word.

    A refusal changes nothing on the board. 422: it was read, and what it says does not hold.
    """

    status = 422

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Malformed(Refusal):
    """No bundle: cut off, not a zip file, with members that no bundle has, or made to harm whoever unpacks it."""

    status = 400


class NotAllowed(Refusal):
    """No token, or one that this board does not know or has revoked."""

    status = 401


class Conflict(Refusal):
    """It stands against what is there: the very same bundle, or a name that belongs to somebody else."""

    status = 409


class TooLarge(Refusal):
    """More than a board reads, packed or unpacked."""

    status = 413


class TooSlow(Refusal):
    """An upload that did not come in time."""

    status = 408
