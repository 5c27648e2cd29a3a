"""Phrasings of instructions, and what common labels mean. Plain data; `{core}` is the seed's own instruction."""

from __future__ import annotations

LABEL_FRAMES: tuple[str, ...] = (
    "{core}",
    "{core}\nRead the whole text first. Judge what the writer means overall, not single words.",
    "You are a careful annotator who labels texts exactly as most people would.\n{core}",
    "{core}\nUse only what the text itself says. Answer with the single label that fits best.",
    "Task: {core}\nAllowed labels: {labels}\nAnswer with one label and nothing else.",
    "Choose the label that fits the text best.\nLabels: {labels}\n{core}",
    "{core}\nPay attention to negation, irony, emoticons, capital letters and punctuation.",
    "{core}\nFirst ask yourself which labels clearly do not fit; then choose among the rest.",
    "Which of these labels fits the text: {labels}?",
    "{core}\nShort or factual texts deserve the least extreme label; strong wording deserves a strong one.",
)
FREE_FRAMES: tuple[str, ...] = (
    "{core}",
    "You are a careful expert.\n{core}",
    "{core}\nCopy values exactly as they are written; do not guess what is not there.",
    "{core}\nCheck your answer against the input before you give it.",
    "{core}\nIf a value is missing, say so with null instead of inventing one.",
    "{core}\nRead the whole input first, then answer briefly and exactly.",
)
GLOSS_HEAD = "What the labels mean:"
WORDS_HEAD = "Typical words:"
DOUBT_HEAD = "When in doubt, choose"
CLEAR_HEAD = "Only choose"

GLOSSES: dict[str, str] = {
    "positive": "the writer is pleased, hopeful, thankful, amused or recommends something",
    "negative": "the writer is unhappy, angry, sad, worried, disappointed or complains",
    "neutral": "facts, questions or announcements without clear feeling, or feelings that cancel out",
    "mixed": "clearly good and clearly bad points together",
    "spam": "unasked advertising, offers, money, links to click",
    "ham": "an ordinary message from a person or a list that one wants to read",
    "yes": "the statement or question is true for the given text",
    "no": "the statement or question is not true for the given text",
    "true": "what is said holds",
    "false": "what is said does not hold",
    "urgent": "someone must act today",
    "other": "none of the other labels fits",
    "question": "asks for an answer",
    "complaint": "says that something is wrong and expects a remedy",
    "bug": "something does not work as it should",
    "feature": "asks for something new",
    "business": "companies, markets, money, the economy",
    "politics": "governments, parties, elections, laws",
    "sport": "matches, teams, athletes, results",
    "tech": "computers, software, devices, science",
    "entertainment": "films, music, television, celebrities",
}
_STOP_WORDS = """
the and for that this with you was are but not have has had his her its they them from your our all just what when who will would
can could about there their been were out get got one too how why http https com www into than then some more like
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
