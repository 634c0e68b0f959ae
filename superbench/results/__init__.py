"""Results: records and their files, confidence intervals, ranking, tables, comparison, export."""

from __future__ import annotations

from superbench.results.files import (
    LEARNING as LEARNING,
    REPLACED as REPLACED,
    check_whole as check_whole,
    damage as damage,
    find_results as find_results,
    name_of as name_of,
    read_result as read_result,
    read_results as read_results,
    read_whole_results as read_whole_results,
    require_results as require_results,
    write_failure as write_failure,
    write_result as write_result,
)
from superbench.results.predictions import pack as pack, read_predictions as read_predictions
from superbench.results.result import Result as Result
