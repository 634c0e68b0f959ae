"""Base of records that may come from untrusted sources: frozen, with known fields only, and bounds for every field."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Name = Annotated[str, Field(min_length=1, max_length=200)]
Line = Annotated[str, Field(max_length=500)]
Text = Annotated[str, Field(max_length=4_000)]
Digest = Annotated[str, Field(max_length=128)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Real = Annotated[float, Field(ge=-1e15, le=1e15)]
Amount = Annotated[float, Field(ge=0, le=1e18)]
Rate = Annotated[float, Field(ge=0, le=1e6)]
Weight = Annotated[float, Field(ge=-1e-6, le=1 + 1e-6)]
Remarks = Annotated[list[Text], Field(max_length=500)]
_Value = TypeVar("_Value")
Few = Annotated[dict[Name, _Value], Field(max_length=100)]
Many = Annotated[dict[Name, _Value], Field(max_length=5_000)]
CLOSED = ConfigDict(extra="forbid", allow_inf_nan=False)


class Record(BaseModel):
    """A frozen record. It rejects undeclared fields, and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def first_fault(error: ValidationError) -> str:
    """Returns what is wrong with a record: the first field that is rejected, if it is one field, and why."""
    fault = error.errors(include_input=False)[0]
    field, reason = ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")
    return f"{field:.200}: {reason}" if field else reason
