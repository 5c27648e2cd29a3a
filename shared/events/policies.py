"""The rules themselves under change control: versions of the policy, what they would have decided, maturity of pipelines.

A policy is activated, and a maturity changed, by `ProposeChange` of kind `policy` or `maturity`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.events.message import Fact, Query

PolicyRevision = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{8,64})?$")]
"""A policy's digest or its first digits, 8 at least; empty means the one in force."""


class PolicyActivated(Fact):
    """From now on every change is judged by this revision."""

    subject: ClassVar[str] = "evt.policy.activated"
    owner: ClassVar[str] = "guardrail"

    policy: str
    version: int
    revision: str
    previous_revision: str = ""
    change_id: str
    """The change that people approved; `file:<generation>` for the file that a guardrail was started with."""
    activated_by: str
    generation: int
    """Counts the activations."""


class MaturityChanged(Fact):
    subject: ClassVar[str] = "evt.pipeline.maturity_changed"
    owner: ClassVar[str] = "guardrail"

    pipeline: str
    maturity: Literal["experimental", "beta", "production"]
    previous_maturity: Literal["experimental", "beta", "production"]
    digest: str
    """The stable revision at that moment."""
    change_id: str
    generation: int


class GetPolicy(Query):
    """Answer: `{policy, version, revision, active, source, change_id, author, approved_by, created_at, previous, document}`;
    `previous` are the revisions that were in force before the one that is, newest last."""

    subject: ClassVar[str] = "api.guardrail.get_policy"
    owner: ClassVar[str] = "guardrail"

    revision: PolicyRevision = ""


class ListPolicies(Query):
    """Answer: `{policies: [{policy, version, revision, active, source, change_id, author, approved_by, created_at}]}`, newest
    first."""

    subject: ClassVar[str] = "api.guardrail.list_policies"
    owner: ClassVar[str] = "guardrail"

    limit: int = Field(default=50, ge=1, le=500)


class CheckPolicy(Query):
    """Loads a policy as an activation would. Answer: `{policy, version, revision, rules}`; what is wrong is an error."""

    subject: ClassVar[str] = "api.guardrail.check_policy"
    owner: ClassVar[str] = "guardrail"

    document: dict[str, Any]


class TestPolicy(Query):
    """What would a policy have decided about changes that were judged before? Nothing is changed by asking.

    Answer: `{policy, version, revision, judged, changed, unchanged, not_replayable, counts: {"allow -> review": n},
    rows: [{change_id, kind, pipeline, author, judged_at, outcome, was, was_by, would, would_by, reasons}], left_off,
    skipped: [{change_id, reason}]}`; rows whose verdict changes come first."""

    subject: ClassVar[str] = "api.guardrail.test_policy"
    owner: ClassVar[str] = "guardrail"
    __test__: ClassVar[bool] = False

    document: dict[str, Any]
    last: int = Field(default=200, ge=1, le=1000)
    """How many of the latest judged changes."""
    since: str = Field(default="", max_length=40, pattern=r"^(\d{4}-\d\d-\d\d(T[0-9:.]+(Z|[+-]\d\d:\d\d))?)?$")
    """Only changes proposed at this time or after it: RFC 3339, or a day (UTC)."""
