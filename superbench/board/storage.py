"""A board: a folder of accepted bundles, friendly to git. What is in it was scored again before it came in."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from superbench.board import contents, page, ranking
from superbench.board.bundle import Bundle, Entry, open_bundle, pack_bundle
from superbench.board.details import Answers
from superbench.board.published import published
from superbench.board.verify import reasons
from superbench.errors import BadResult, CommandError
from superbench.files import whole, write_text
from superbench.results import Result, find_results

BUNDLES = "bundles"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a submission. `fresh` is False where the very same bundle was there already."""

    upstream: str
    tasks: tuple[str, ...]
    path: Path
    fresh: bool


class Board:
    """The board in the folder `root`; made when the first bundle comes."""

    def __init__(self, root: Path | str) -> None:
        if re.match(r"[a-z]+://", str(root)):
            raise CommandError(f"{root}: this version keeps boards in folders only. Give --board the path of a folder.")
        self.root = Path(root)

    def submit(self, folder: Path) -> list[Receipt]:
        """Bundle, verify and accept every upstream's results under `folder`; nothing is accepted if one is refused.

        `folder` is what `superbench run --out` wrote, one upstream's folder in it, or a bundle. Raises `BadResult` with all
        reasons.
        """
        packed = [folder.read_bytes()] if folder.is_file() else [pack_bundle(one) for one in upstream_folders(folder)]
        opened = [(open_bundle(data), data) for data in packed]
        refused = [f"{bundle.upstream}: {reason}" for bundle, _ in opened for reason in reasons(bundle)]
        if refused:
            raise BadResult("The board refuses this submission, nothing was added. " + "; ".join(refused) + ".")
        return [self._accept(bundle, data) for bundle, data in opened]

    def _accept(self, bundle: Bundle, data: bytes) -> Receipt:
        tasks = tuple(sorted(bundle.entries))
        short = bundle.digest[:12]
        held = sorted((self.root / BUNDLES).glob(f"*-{short}.zip"))
        if held:
            return Receipt(bundle.upstream, tasks, held[0], False)
        name = re.sub(r"[^A-Za-z0-9._-]", "_", bundle.upstream)
        path = self.root / BUNDLES / f"{_moment()}-{name}-{short}.zip"
        with whole(path) as temporary:
            temporary.write_bytes(data)
        return Receipt(bundle.upstream, tasks, path, True)

    def results(self) -> list[Result]:
        """All results on the board; where one upstream's task came in more than once, the latest. Raises `BadResult`."""
        return [entry.result for entry in self._entries()]

    def _entries(self) -> list[Entry]:
        paths = sorted((self.root / BUNDLES).glob("*.zip"))
        if not paths:
            raise CommandError(
                f"{self.root} is no board: it has no bundle. Submit one: superbench submit DIR --board {self.root}"
            )
        latest: dict[tuple[str, ...], Entry] = {}
        for path in paths:
            try:
                bundle = open_bundle(path.read_bytes())
            except BadResult as error:
                raise BadResult(f"{path}: {error}") from error
            for name, entry in bundle.entries.items():
                facts = entry.result
                key = (facts.upstream.name, facts.upstream.revision, name, facts.task.protocol, facts.data.fingerprint)
                latest[key] = entry
        return list(latest.values())

    def write_page(self, out: Path) -> Path:
        """Write the board as one HTML file that opens from disk; the published rows stand in it, apart."""
        entries = {id(entry.result): entry for entry in self._entries()}
        local = ranking.grouped(entry.result for entry in entries.values())
        had = {key for group in local for row in group.rows for key in row.cells}
        columns = [column for column in ranking.columns() if column.primary or column.reference or column.key in had]
        groups = [*local, ranking.Group(contents.PUBLISHED, tuple(published(columns)))]
        scored = {key: Answers.of(entry.result, entry.predictions) for key, entry in entries.items()}
        write_text(out, page.render(contents.contents(groups, columns, lambda result: scored[id(result)])))
        return out


def _moment() -> str:
    """UTC to the microsecond, so that names sort in the order of acceptance."""
    now = time.time_ns()
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now // 10**9))}.{now // 1000 % 10**6:06d}Z"


def upstream_folders(folder: Path) -> list[Path]:
    """The folders of single upstreams at or below `folder`; raises `BadResult` if there are no results."""
    places = find_results(folder)
    if not places:
        raise BadResult(f"{folder} holds no results. Give the folder that `superbench run --out` wrote.")
    return sorted({folder if place == folder else place.parent for place in places})
