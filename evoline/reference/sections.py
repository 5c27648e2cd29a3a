"""The other generated sections, each from what the loader and the executor really use."""

from __future__ import annotations

import inspect
from typing import Any

from evoline.reference.tables import HEAD, one_line, rows_of, spoken, table
from shared.evidence import graders as grading
from shared.pipeline.document import Defaults, Limits, Retry, Step
from shared.pipeline.functions import FunctionSpec, function_catalogue
from shared.pipeline.json_schema import language_schema
from shared.pipeline.template_filters import FILTERS, TESTS
from shared.pipeline.template_syntax import METHODS
from shared.store_inputs import store_names


def common_keys() -> str:
    properties: dict[str, Any] = language_schema()["$defs"]["fallback"]["properties"]
    rows = [
        (f"`{key}`", _common_type(key, facts), _common_default(key), facts.get("description", ""))
        for key, facts in properties.items()
    ]
    return "## Keys of every step\n\nBeside these a step has the options of its type, written flat.\n\n" + table(HEAD, rows)


def _common_type(key: str, facts: dict[str, Any]) -> str:
    written = {"type": "a step type", "on_error": "`fail` / `continue` / `{fallback: step}`", "schema": "schema or shorthand"}
    return written.get(key) or spoken(facts)


def _common_default(key: str) -> str:
    field = Step.model_fields["output_schema" if key == "schema" else key]
    if field.is_required():
        return "required"
    return "" if field.default in (None, ()) else f"`{str(field.default).lower()}`"


def defaults_and_limits() -> str:
    texts = (("defaults", Defaults), ("limits", Limits), ("retry", Retry))
    sections = [f"### {name}\n\n{one_line(model.__doc__)}\n\n{table(HEAD, rows_of(model))}" for name, model in texts]
    return "## Defaults, limits, retry\n\n" + "\n".join(sections)


def filters() -> str:
    methods = "; ".join(f"of {_KINDS[kind]} {_listed(names)}" for kind, names in METHODS.items())
    return (
        "## Filters, tests, methods\n\nOf templates and conditions; every other one is an error before the run.\n\n"
        f"- Filters: {_listed(FILTERS)}\n- Tests (`x is ...`): {_listed(TESTS)}\n- Methods: {methods}\n- Functions: `range`\n"
    )


_KINDS: dict[type, str] = {str: "texts", dict: "maps", list: "lists"}


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def functions() -> str:
    specs = function_catalogue()
    intro = "Called by `function` steps, and by models through `functions`. Cost classes: `free` is microseconds in the process,\n"
    intro += "`light` one query or some milliseconds of computing, `heavy` seconds.\n"
    return f"## Functions\n\n{intro}" + "".join(_function(specs[name]) for name in sorted(specs))


def _function(spec: FunctionSpec) -> str:
    kind = "computed" if spec.pure else "answered from the stores"
    head = f"\n### {spec.name}\n\n{spec.description} Cost class `{spec.cost_class}`, {kind}.\n\n"
    properties, required = spec.parameters.get("properties", {}), spec.parameters.get("required", ())
    rows = [
        (f"`{name}`", spoken(facts), "required" if name in required else _default(facts), facts.get("description", ""))
        for name, facts in properties.items()
    ]
    return head + (table(("parameter", *HEAD[1:]), rows) if rows else "No parameters.\n")


def _default(facts: dict[str, Any]) -> str:
    return f"`{facts['default']}`" if "default" in facts else ""


def graders() -> str:
    return f"## Graders\n\n```text\n{inspect.cleandoc(grading.__doc__ or '')}\n```\n"


def inputs_from_stores() -> str:
    intro = "Names that `evoline run NAME --from-stores` and the services fill where nobody gives them.\n\n"
    return f"## Inputs from the stores\n\n{intro}" + table(
        ("input", "filled with"), ((f"`{name}`", one_line(said)) for name, said in store_names().items())
    )
