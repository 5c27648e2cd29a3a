"""The tree itself, built from what the guardrail and evolution answered. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evoline.sealed_gain import SealedGain

NO_CANDIDATE = "no_candidate"
"""Verdict of a search that proposed nothing; what it then calls its best is a finalist."""


@dataclass
class Node:
    """One revision, deployed or only tried. `score` is on a search's own cases and optimistic; `gain` is the sealed gate's."""

    digest: str
    parent: str = ""
    operator: str = ""
    text: str = ""
    score: Mapping[str, Any] | None = None
    accepted: bool = False
    on_front: bool = False
    evolution_id: str = ""
    verdict: str = ""
    gain: SealedGain | None = None
    origins: tuple[str, ...] = ()
    """Digests of templates and other pipelines that it took something from, itself or an ancestor in its search."""
    status: str = ""
    """The guardrail's word on a revision: approved, quarantined, ...; empty for what was only tried."""
    author: str = ""
    created_at: str = ""
    serving: str = ""
    """`stable`, `canary`, `was stable` or nothing."""
    children: list[Node] = field(default_factory=list)
    hidden: int = 0
    """Children that are not shown."""

    @property
    def judged(self) -> str:
        """Its verdict in words: what was never proposed was judged by nobody but the finals."""
        return "best finalist, no better on fresh cases" if self.verdict == NO_CANDIDATE else self.verdict

    @property
    def is_notable(self) -> bool:
        return bool(self.status or self.accepted or self.verdict or self.on_front)

    @property
    def made(self) -> str:
        """What made it, in words."""
        return f"{self.operator}: {self.text}".removesuffix(": ") if self.operator not in ("", "seed") else self.text

    def told(self) -> dict[str, Any]:
        """Everything but the children, for JSON."""
        names = ("digest", "parent", "operator", "text", "score", "accepted", "on_front", "evolution_id", "verdict", "status")
        rest = ("author", "created_at", "serving", "origins")
        return {**{name: getattr(self, name) for name in names + rest}, "gain": self.gain.told() if self.gain else None}


@dataclass(frozen=True)
class Lineage:
    pipeline: str
    evolutions: Sequence[Mapping[str, Any]]
    """Newest first, without their candidates."""
    nodes: Mapping[str, Node]
    roots: Sequence[Node]
    promotions: Sequence[Mapping[str, Any]] = ()
    """Newest first: what was proposed by hand, by experiments, or by searches that are not among `evolutions`."""

    def shown(self, *, everything: bool) -> Lineage:
        """Without what was neither accepted, nor on a front, nor a revision, nor leads to one of these."""
        return self if everything else _restricted(self, [node for node in self.nodes.values() if node.is_notable])

    def around(self, digest: str) -> Lineage:
        """Only the ancestors and descendants of one node."""
        node = self.nodes[digest]
        kept = list(_below(node))
        return _restricted(self, kept, count_hidden=False)

    def of_evolution(self, evolution_id: str) -> Lineage:
        chosen = [each for each in self.evolutions if each["evolution_id"] == evolution_id]
        seeds = {each.get("seed_digest") for each in chosen}
        kept = [node for node in self.nodes.values() if node.evolution_id == evolution_id or node.digest in seeds]
        return _restricted(Lineage(self.pipeline, chosen, self.nodes, self.roots), kept, count_hidden=False)


def build(
    pipeline: Mapping[str, Any] | None,
    evolutions: Sequence[Mapping[str, Any]],
    name: str,
    promotions: Sequence[Mapping[str, Any]] = (),
) -> Lineage:
    """`pipeline`: the guardrail's answer on it, None where it has none; `promotions`: its answer on all of these."""
    nodes: dict[str, Node] = {}
    for evolution in reversed(evolutions):
        _add_evolution(evolution, nodes)
    if pipeline is not None:
        _add_revisions(pipeline, nodes)
    searched = {each.get("change_id") for each in evolutions}
    others = [each for each in promotions if each["change_id"] not in searched]
    for promotion in reversed(others):
        _add_promotion(promotion, nodes)
    roots = _linked(nodes)
    told = [{key: value for key, value in each.items() if key != "candidates"} for each in evolutions]
    return Lineage(name, told, nodes, roots, others)


def _add_evolution(evolution: Mapping[str, Any], nodes: dict[str, Node]) -> None:
    seed = str(evolution.get("seed_digest") or "")
    for row in evolution["candidates"]:
        if row["operator"] == "seed":
            seed = row["digest"]
        if row["digest"] in nodes and row["operator"] == "seed":
            continue  # it came from somewhere, in an earlier evolution
        nodes[row["digest"]] = Node(
            digest=row["digest"],
            parent=row["parent"],
            operator=row["operator"],
            text=row["text"],
            origins=tuple(row.get("origins", ())),
            score=row.get("score"),
            accepted=row["accepted"],
            on_front=row.get("on_front", False),
            evolution_id=evolution["evolution_id"] if row["operator"] != "seed" else "",
        )
    for row in evolution["candidates"]:
        node = nodes[row["digest"]]
        if node.parent and node.parent not in nodes:
            node.parent = seed if node.digest != seed else ""  # bred in several steps, of which only the last was measured
    best = nodes.get(str(evolution.get("best_digest") or ""))
    if best is not None and evolution.get("verdict"):
        best.verdict = with_whose_veto(str(evolution["verdict"]), str(evolution.get("vetoed_by") or ""))
        best.gain = SealedGain.of(evolution) or best.gain


def _add_promotion(promotion: Mapping[str, Any], nodes: dict[str, Node]) -> None:
    if not promotion["digest"]:
        return  # its document never became valid
    node = nodes.setdefault(promotion["digest"], Node(promotion["digest"], text=f"by {promotion['author']}"))
    node.author, node.created_at = node.author or promotion["author"], node.created_at or promotion["created_at"]
    if not node.parent and promotion["parent_digest"] != node.digest:
        node.parent = promotion["parent_digest"] or ""
    node.verdict, node.gain = verdict_on(promotion), SealedGain.of(promotion["gate"] or {}) or node.gain


def verdict_on(promotion: Mapping[str, Any]) -> str:
    """The gate's word where that decided, else what became of the change."""
    gate, status = (promotion["gate"] or {}).get("verdict", ""), str(promotion["status"])
    if status == "approved" or (status == "vetoed" and gate == "rejected"):
        return gate or status
    return with_whose_veto(status, promotion["decided_by"])


def with_whose_veto(verdict: str, by: str) -> str:
    return f"{verdict} by {by}" if verdict == "vetoed" and by else verdict


def _add_revisions(pipeline: Mapping[str, Any], nodes: dict[str, Node]) -> None:
    before = set(pipeline.get("previous", ()))
    for row in pipeline["revisions"]:
        node = nodes.setdefault(row["digest"], Node(row["digest"]))
        node.status = "quarantined" if row.get("quarantine") else row["status"]
        node.author, node.created_at = row["author"], row["created_at"]
        if not node.parent and row.get("parent_digest") != row["digest"]:
            node.parent = row.get("parent_digest") or ""
        node.origins = node.origins or tuple(row.get("origins", ()))
        if not node.text:
            node.text = f"by {row['author']}"
        if row["digest"] in before:
            node.serving = "was stable"
    for name in ("stable", "canary"):
        if pipeline.get(name) in nodes:
            nodes[pipeline[name]].serving = name


def _linked(nodes: Mapping[str, Node]) -> list[Node]:
    cut = _circular(nodes)
    roots = []
    for node in nodes.values():
        parent = nodes.get(node.parent) if node.digest not in cut else None
        if parent is None:
            roots.append(node)
        else:
            parent.children.append(node)
    return roots


def _circular(nodes: Mapping[str, Node]) -> set[str]:
    """Nodes whose descent, as two searches tell it, leads back to themselves: one of each circle."""
    found: set[str] = set()
    known: set[str] = set()
    for node in nodes.values():
        path: set[str] = set()
        current: Node | None = node
        while current is not None and current.digest not in known:
            if current.digest in path:
                found.add(current.digest)
                break
            path.add(current.digest)
            current = nodes.get(current.parent)
        known |= path
    return found


def _below(node: Node) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += one.children


def _restricted(whole: Lineage, kept: Sequence[Node], *, count_hidden: bool = True) -> Lineage:
    """The same tree with these and their ancestors only, as copies."""
    wanted: set[str] = set()
    for node in kept:
        current: Node | None = node
        while current is not None and current.digest not in wanted:
            wanted.add(current.digest)
            current = whole.nodes.get(current.parent)
    copies = {digest: _copied(whole.nodes[digest], wanted, count_hidden) for digest in whole.nodes if digest in wanted}
    roots = _linked(copies)
    return Lineage(whole.pipeline, whole.evolutions, copies, roots, whole.promotions)


def _copied(node: Node, wanted: set[str], count_hidden: bool) -> Node:
    unwanted = [child for child in node.children if child.digest not in wanted] if count_hidden else []
    hidden = sum(1 for child in unwanted for _ in _below(child))
    fields = {name: getattr(node, name) for name in Node.__dataclass_fields__ if name != "children"}
    return Node(**{**fields, "hidden": node.hidden + hidden})
