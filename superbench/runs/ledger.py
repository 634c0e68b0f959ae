"""The list of finished jobs in OUT: a line for each, with its time, state, and score or message."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from superbench import plugins
from superbench.runs.jobs import Ended


def record_end(out: Path, ended: Ended) -> None:
    """Appends a line for a finished job to the list: time, job, state, and score or message."""
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%d %H:%M:%S"), "upstream": ended.job.spec.alias, "task": ended.job.task,
        "state": ended.state,
    }  # fmt: skip
    if ended.result is not None:
        line |= {
            ended.result.primary: ended.result.scores[ended.result.primary].value,
            "job": ended.result.environment.get("job"),
        }
    else:
        line["message"] = ended.message.partition("\n")[0]
    with (out / plugins.LEDGER).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
