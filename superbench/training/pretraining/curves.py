"""Learning curves of a pretraining: `OUT.csv`, and TensorBoard event files in `OUT.events/` if tensorboard is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from superbench.system.files import write_table
from superbench.system.progress import Reporter

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COLUMNS = ("step", "loss", "held out", "learning rate")


class Curves:
    """Writer of both files next to a checkpoint. A resumed run replaces the events of the updates that it repeats."""

    def __init__(self, out: Path, reporter: Reporter) -> None:
        self._csv, self.events = out.with_suffix(".csv"), out.with_suffix(".events")
        self._writer: SummaryWriter | None = None
        self._absent = False
        self._reporter = reporter

    def update(self, step: int, loss: float, rate: float) -> None:
        """Record the loss and learning rate of one update (TensorBoard only)."""
        if (writer := self._opened(step)) is not None:
            writer.add_scalar("loss/training", loss, step)
            writer.add_scalar("learning rate", rate, step)

    def check(self, rows: list[Any]) -> None:
        """Record an evaluation. `rows` contains all evaluations so far, the newest last."""
        write_table(self._csv, COLUMNS, rows)
        if (writer := self._opened(rows[-1]["step"])) is not None:
            writer.add_scalar("loss/held out", rows[-1]["held out"], rows[-1]["step"])
            writer.flush()

    def close(self) -> None:
        """Write the events that are still in memory."""
        if self._writer is not None:
            self._writer.close()

    def _opened(self, step: int) -> SummaryWriter | None:
        if self._writer is None and not self._absent:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self._absent = True
                self._reporter.note(f"curves go to {self._csv} only; for TensorBoard: pip install 'speech-superbench[curves]'")
                return None
            if step == 1:
                for old in self.events.glob("events.out.tfevents.*"):
                    old.unlink()
            self._writer = SummaryWriter(str(self.events), purge_step=step)
        return self._writer
