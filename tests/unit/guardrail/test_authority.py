"""The table of who may command what, against every command and every kind of sender."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.guardrail.domain.authority import AUTHORITY, QUESTIONS, ROLES, SEARCHES, authorize, need_of
from services.guardrail.subscribers import Edge, register
from shared.errors import ConfigurationError, NotAuthorizedError
from shared.events import Command, Message, Query, catalogue
from shared.events.changes import DecideReview, GrantScope, ProposeChange
from shared.events.deployments import RollbackPipeline
from shared.events.improvement import LearnFromRuns
from shared.events.quotas import CloseScope
from shared.identity import UNSIGNED, Identity, Signature
from shared.messaging.catalogue.examples import example_of
from shared.messaging.handling import Delivery
from tests.fakes.guardrail import bench
from tests.fakes.people import identity

COMMANDS = [each for each in catalogue() if issubclass(each, Command) and each.owner == "guardrail"]


def signed(who: Identity) -> Signature:
    return Signature(who, None, "")


def command_by(kind: type[Command], name: str) -> Command:
    return kind.model_validate({**example_of(kind), AUTHORITY[kind].speaker: name})


def question_by(kind: type[Query], name: str) -> Query:
    said = QUESTIONS[kind].speaker
    return kind.model_validate({**example_of(kind), **({said: name} if said else {})})


def allowed(message: Command | Query, signature: Signature) -> bool:
    try:
        authorize(message, signature)
    except NotAuthorizedError:
        return False
    return True


def test_every_command_of_the_guardrail_is_in_the_table_and_is_signed() -> None:
    assert set(COMMANDS) == set(AUTHORITY)
    assert all(each.signed for each in COMMANDS)


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("role", [*ROLES, "none", "service", "unsigned"])
def test_every_command_by_every_role_is_allowed_as_the_table_says_and_nothing_else(kind: type[Command], role: str) -> None:
    need = AUTHORITY[kind]
    who = identity("ann", *([role] if role in ROLES else []), kind="service" if role == "service" else "person")
    signature = UNSIGNED if role == "unsigned" else signed(who)
    wanted = need.unsigned_too or (role in need.roles if need.roles else role != "unsigned")
    assert allowed(command_by(kind, "ann"), signature) == (wanted and not need.services_only)


def test_what_gives_something_away_is_in_the_table_of_questions_and_signed() -> None:
    asked = {each for each in catalogue() if issubclass(each, Query) and each.owner == "guardrail" and each.signed}
    assert asked == set(QUESTIONS)


@pytest.mark.parametrize("kind", QUESTIONS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "who", [*sorted(SEARCHES), "analytics", "ann", "a service with every role", "a person with every role", "unsigned"]
)
def test_every_question_by_everybody_is_answered_as_the_table_says(kind: type[Query], who: str) -> None:
    need, services = QUESTIONS[kind], {*SEARCHES, "analytics"}
    roles = ROLES if "every role" in who else ()
    name = who if who in services else "ann"
    asker = identity(name, *roles, kind="service" if who in services or who.startswith("a service") else "person")
    signature = UNSIGNED if who == "unsigned" else signed(asker)
    assert allowed(question_by(kind, name), signature) == (
        who in need.services or (who == "a service with every role" and bool(need.roles))
    )


def test_nobody_holds_a_scope_in_anothers_name_but_the_executor_for_pipelines() -> None:
    with pytest.raises(NotAuthorizedError, match="set `holder` to generator"):
        authorize(question_by(GrantScope, "evolution"), signed(identity("generator", kind="service")))
    nested = question_by(GrantScope, "pipeline:nightly")
    authorize(nested, signed(identity("executor", kind="service")))
    with pytest.raises(NotAuthorizedError):
        authorize(nested, signed(identity("generator", kind="service")))


@pytest.mark.parametrize("kind", [CloseScope], ids=lambda kind: kind.__name__)
def test_only_services_that_search_close_scopes(kind: type[Command]) -> None:
    for name in sorted(SEARCHES):
        authorize(command_by(kind, name), signed(identity(name, kind="service")))
        with pytest.raises(NotAuthorizedError, match="no service but a person"):
            authorize(command_by(kind, name), signed(identity(name, *ROLES)))
    assert need_of(command_by(kind, "generator")).services == SEARCHES


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_nobody_signs_for_somebody_else(kind: type[Command]) -> None:
    with pytest.raises(NotAuthorizedError, match="speaks for nobody else"):
        authorize(command_by(kind, "bob"), signed(identity("ann", *ROLES)))


def test_a_service_with_every_role_decides_nothing() -> None:
    with pytest.raises(NotAuthorizedError, match="no person"):
        authorize(command_by(DecideReview, "generator"), signed(identity("generator", *ROLES, kind="service")))


def test_only_the_executor_vouches_for_pipelines_that_propose() -> None:
    command = command_by(ProposeChange, "pipeline:nightly")
    authorize(command, signed(identity("executor", kind="service")))
    for other in (identity("generator", kind="service"), identity("executor"), identity("ann", *ROLES)):
        with pytest.raises(NotAuthorizedError):
            authorize(command, signed(other))


def test_an_error_names_the_command_the_reason_and_what_to_do() -> None:
    with pytest.raises(NotAuthorizedError, match=r"RollbackPipeline .* not signed; sign it .*docs/identities.md"):
        authorize(command_by(RollbackPipeline, "ann"), UNSIGNED)
    with pytest.raises(NotAuthorizedError, match=r"role admin or operator; ann has reviewer: ask somebody"):
        authorize(command_by(RollbackPipeline, "ann"), signed(identity("ann", "reviewer")))


def test_a_command_without_a_row_is_not_consumed_at_all() -> None:
    class Nothing:
        def on(self, *_: Any, **__: Any) -> None:
            raise AssertionError("subscribed")

    async def handler(*_: Any) -> Any: ...

    with pytest.raises(ConfigurationError, match="who may send it"):
        Edge(Nothing(), bench().at).on(LearnFromRuns, handler, durable="x")  # type: ignore[arg-type]


async def test_no_command_of_the_guardrail_gets_past_the_edge_unsigned() -> None:
    """Whatever is registered: each handler refuses what the table does not take from everybody."""
    handlers: dict[type[Command], Any] = {}
    questions: dict[type[Query], Any] = {}

    class Recording:
        def on(self, kind: type[Message], handler: Any, **_: Any) -> None:
            if issubclass(kind, Command):
                handlers[kind] = handler

        def answers(self, *_: Any) -> None: ...

        def answers_signed(self, kind: type[Query], handler: Any) -> None:
            questions[kind] = handler

    at = bench().at
    register(Recording(), at, concurrency=1)  # type: ignore[arg-type]
    assert (set(handlers), set(questions)) == (set(AUTHORITY), set(QUESTIONS))
    for question, handler in questions.items():
        with pytest.raises(NotAuthorizedError, match="not signed"):
            await handler(question_by(question, "generator"), UNSIGNED)
    delivery = Delivery(message_id="m", sequence=1, attempt=1, subject="s", headers={})
    for kind, handler in handlers.items():
        if not AUTHORITY[kind].unsigned_too:
            with pytest.raises(NotAuthorizedError, match="not signed"):
                await handler(command_by(kind, "ann"), replace(delivery, message_id=kind.__name__))
            entry = await at.audit.find(f"unauthorized:{kind.__name__}")
            assert entry is not None and entry.action == "command.refused" and "not signed" in entry.facts["reason"]
