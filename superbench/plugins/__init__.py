"""Finds and loads models and tasks by name: entry points, specs, model files of users."""

from __future__ import annotations

from superbench.plugins.entry_points import (
    HUBS as HUBS,
    NAMES as NAMES,
    TASKS as TASKS,
    UPSTREAMS as UPSTREAMS,
    refuse_claimed as refuse_claimed,
)
from superbench.plugins.models import (
    Batching as Batching,
    Loaded as Loaded,
    is_built_in as is_built_in,
    is_built_in_task as is_built_in_task,
    loaded as loaded,
    plugin as plugin,
    rehearse_plugin as rehearse_plugin,
    upstream as upstream,
)
from superbench.plugins.names import (
    Listed as Listed,
    Offered as Offered,
    broken as broken,
    chosen as chosen,
    distribution_of as distribution_of,
    file_names as file_names,
    importer as importer,
    kind as kind,
    list_tasks as list_tasks,
    list_upstreams as list_upstreams,
    listed as listed,
    names_of as names_of,
    offered as offered,
    task as task,
    task_names as task_names,
    tasks as tasks,
)
from superbench.plugins.specs import LEDGER as LEDGER, Spec as Spec, parse as parse, specs as specs
from superbench.plugins.task_files import is_file as is_file, is_task_file as is_task_file, require_name as require_name
