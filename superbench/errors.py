"""The tree of errors.

Every error that a user can cause is a `SuperbenchError`. Its message is one paragraph: what was found, what was expected, and
what to do next. `CommandError` means that the command was wrong (exit status 2). Every other error means that the job failed
(exit status 1). `assert` checks for bugs of superbench itself; an `AssertionError` is never caught.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


class SuperbenchError(Exception):
    """An error that the user can correct. Its message is enough to do so; no traceback is needed."""

    exit_status = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross process borders with their message; the arguments of their constructors do not matter there."""
        return _restored, (type(self), self.args), vars(self)


def _restored(kind: type[SuperbenchError], arguments: tuple[Any, ...]) -> SuperbenchError:
    error = kind.__new__(kind)
    error.args = arguments
    return error


class CommandError(SuperbenchError):
    """The command was wrong: an option is invalid, or options contradict each other."""

    exit_status = 2


class Occupied(CommandError):
    """The output folder of a job already contains results of another model or of other options."""


class Undefined(CommandError):
    """A task has no form under the protocol that was asked for; `--tasks all` leaves it out."""


class UnknownName(CommandError):
    """No plugin is registered under this name. The message suggests the nearest names.

    >>> str(UnknownName("upstream", "fbnk", ["fbank", "apc"], "superbench list upstreams"))
    "No upstream is called 'fbnk'. Did you mean fbank? `superbench list upstreams` shows all 2."
    >>> str(UnknownName("upstream", "gpt", ["speech_gpt", "apc"], "superbench list upstreams"))
    "No upstream is called 'gpt'. Did you mean speech_gpt? `superbench list upstreams` shows all 2."
    >>> str(UnknownName("task", "digits", ["ks", "asr"], "superbench list tasks"))
    "No task is called 'digits'. There are asr and ks; `superbench list tasks` describes them."
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], see: str) -> None:
        names = sorted(known)
        near = _near(name, names)
        if not near and 0 < len(names) <= FEW_NAMES:
            listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
            super().__init__(f"No {kind} is called {name!r:.200}. There are {listed}; `{see}` describes them.")
            return
        guess = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"No {kind} is called {name!r:.200}.{guess} `{see}` shows all {len(names)}.")


FEW_NAMES = 12
"""So many names are listed if none of them is near."""


def _near(name: str, names: Sequence[str]) -> list[str]:
    """Returns the names that are spelled alike, in any case, or that contain the name as a word."""
    by_case = {known.casefold(): known for known in names}
    alike = [by_case[one] for one in difflib.get_close_matches(name.casefold(), list(by_case), n=3, cutoff=0.5)]
    parts = [known for known in names if len(name) >= 3 and name.casefold() in re.split(r"[^a-z0-9]+", known.casefold())]
    return list(dict.fromkeys([*alike, *parts]))[:3]


class MissingExtra(SuperbenchError):
    """A package of an optional extra is needed, but not installed."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'speech-superbench[{extra}]'"
        )


class BrokenPlugin(SuperbenchError):
    """A plugin failed to import, or is not what its entry point promises."""


class EndedProcess(BrokenPlugin):
    """The code of a plugin or of a person's own file ended the process that ran it (`sys.exit`, `os._exit`, a crash)."""


class MissingCorpus(SuperbenchError):
    """A corpus was not found under the data root."""


class IncompleteCorpus(MissingCorpus):
    """A corpus was found, but a part that the task needs is missing: a split, a list or a lexicon."""


class BadCorpus(SuperbenchError):
    """A corpus was found, but a file, a line or the layout differs from the published corpus."""


class MissingFiles(BadCorpus):
    """Files are missing that a list of the corpus names. The message gives the first five names and the number of the others.

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
"""How many names a message lists before it only counts the rest."""


def first_of(things: Sequence[object], few: int = FIRST, between: str = ", ") -> str:
    """Returns the first few items as text, and the number of the others.

    >>> first_of("abc"), first_of("abcdefg")
    ('a, b, c', 'a, b, c, d, e … and 2 more')
    """
    more = f" … and {len(things) - few} more" if len(things) > few else ""
    return between.join(str(thing) for thing in things[:few]) + more


def shortened(text: str, most: int) -> str:
    """Returns at most `most` characters of a text for a message; an ellipsis shows that some are left out.

    >>> shortened("123456", 6), shortened("1234567", 6)
    ('123456', '12345…')
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


class BadAudio(SuperbenchError):
    """A sound file cannot be used: it is unreadable, truncated or empty, or it contains NaN."""


class BadCheckpoint(SuperbenchError):
    """A checkpoint does not fit the model that should load it."""


class BadUpstream(SuperbenchError):
    """A model breaks the contract: wrong frames or layers, NaN, or parameters that change."""


class LostDevice(SuperbenchError):
    """A GPU failed while a process used it. That process cannot use it any more; a new one may."""


class BadHead(SuperbenchError):
    """A head cannot be trained: every learning rate of its sweep diverged."""


class StoreError(SuperbenchError):
    """The feature store cannot be read or written."""


class DamagedFile(StoreError):
    """A file, or a row of an index, differs from what was written: a bit was flipped, or a part is missing."""


class Unavailable(StoreError):
    """The storage of a board is unreachable, full or busy. The same request may succeed later."""


class BadResult(SuperbenchError):
    """A result, a prediction file or a bundle is incomplete, invalid or inconsistent."""


class Refusal(BadResult):
    """A board rejects a submission. `status` is the HTTP status of the answer, `code` the reason in one word.

    A refusal changes nothing on the board. Status 422: the submission could be read, but its claims do not hold.
    """

    status = 422

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Malformed(Refusal):
    """The upload is no bundle: it is truncated, no zip file, has unexpected members, or is unsafe to unpack."""

    status = 400


class NotAllowed(Refusal):
    """The token is missing, unknown to this board, or revoked."""

    status = 401


class Conflict(Refusal):
    """The submission conflicts with the board: the same bundle exists already, or the name belongs to another person."""

    status = 409


class TooLarge(Refusal):
    """The submission exceeds the size limit of the board, packed or unpacked."""

    status = 413


class TooSlow(Refusal):
    """The upload did not arrive in time."""

    status = 408
