"""What every audit's page says alike: a glossary for a person who is no engineer, and what rules ask for.

The rules are told as facts, in our own words and after the public text of each; whether an organisation meets them is
for its own people to judge, and no page of xplain claims it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALWAYS", "ASKED_FOR", "GLOSSARY", "STANDINGS", "Asked"]

STANDINGS = {
    "confirmed": "Confirmed: the model was asked again with the suspected cause moved elsewhere, and it followed.",
    "candidate": "Candidate: statistics alone point to it. Classes honestly differ too, so a person has to look.",
    "refuted": "Refuted: statistics pointed to it, but the model did not follow when the cause was moved.",
    "measured": "Measured: a figure that needs no confirmation.",
    "too few": "Too few: the analysis had too few items to say anything.",
}
"""How far a finding goes, in a sentence each, in the order of the page."""

GLOSSARY = {
    "item": "One thing that the model was asked about, such as a picture, a row of a table or a text.",
    "class": "One of the answers that the model can give.",
    "score": "The number that the model gives a class. The class with the highest score is its answer.",
    "margin": "How far the best score lies above the second best. A small margin is a close decision.",
    "lane": "One model, explained by one method for one kind of target. Lanes are compared with each other.",
    "explanation, map": (
        "A number for every place of an item: how much it spoke for the answer, as one method sees it."
    ),
    "mass": "How much of a map lies somewhere, whether it speaks for or against: a share of the whole.",
    "Gini": "How concentrated a map is: 0 where all places count alike, near 1 where a few hold everything.",
    "border share": (
        "How much of a map lies in the outer eighth of the picture, where watermarks often are; of a series, in its"
        " first and last eighth, where recordings are switched on and off."
    ),
    "twin": "A second form of a model, such as one with smaller numbers (int8), or its next version.",
    "metric beside chance": (
        "A test of maps is only worth something beside what a map without knowledge scores: a random one,"
        " one that points to the centre, or one that follows the picture's edges."
    ),
    "deletion, insertion": (
        "Hide the places that a map calls important, most important first, or show them alone: a true map"
        " makes the score fall, or rise, fast."
    ),
    "95 % interval": "A range that would hold the true value in 95 of 100 repetitions. A wide one means few items.",
    "p-value": (
        "How often pure chance would look at least as striking as what was seen. A small one says nothing"
        " of whether the cause is wrong."
    ),
    "shortcut (Clever Hans)": (
        "A reason that works on the data at hand and not elsewhere: a watermark that only one class has. "
        "Named after the horse that seemed to count."
    ),
    "drift": "The data, the scores or the explanations change from one time, place or run to another.",
    "digest (sha256)": "A fingerprint of a file: change one letter, and it is another one.",
    "root hash": "One fingerprint of the whole audit: its plan, its list of items and every result.",
}
"""Words of the page, and what they mean."""

ALWAYS = (
    "An explanation says what moved this model's score. It does not say whether the answer is right, fair or lawful.",
    "It says nothing of items that were not in the audit, unless they were drawn from where these were drawn.",
    "That no shortcut was found is no proof that there is none: each finding names what its analysis could have seen.",
    "Metrics that hide parts of an item ask the model about items unlike those that it was trained on.",
    "A class that an item was not given may be the right one: labels are taken as the data has them.",
)
"""What no audit can say."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rule asks for, and where this report has facts that bear on it.

    Args:
        rule: The rule and its place.
        asks: What it asks for, in short, in our words.
        here: Sections of the report with facts that bear on it: pairs of an anchor and its name.
        elsewhere: What of it no report of xplain holds.
    """

    rule: str
    asks: str
    here: tuple[tuple[str, str], ...]
    elsewhere: str


_TESTS, _LIMITS = ("tests", "tests of the explanations"), ("cannot", "what it cannot say")
_PROVENANCE, _CLASSES = ("provenance", "provenance"), ("classes", "per class")
_SUBGROUPS, _FINDINGS = ("subgroups", "subgroups"), ("findings", "findings")

ASKED_FOR = (
    Asked(
        "EU AI Act (Regulation 2024/1689), Art. 11 and Annex IV, 2",
        "Technical documentation of how the system was made, validated and tested: data, metrics of accuracy, effects "
        "on groups, logs and reports of tests, dated and signed by those responsible.",
        (("numbers", "numbers"), _CLASSES, _SUBGROUPS, _TESTS, _PROVENANCE, ("reviewer", "reviewer")),
        "How the system was designed and trained, its training data, cybersecurity, and measures of oversight.",
    ),
    Asked(
        "EU AI Act, Annex IV, 3 and 4",
        "What the system can do and cannot, its accuracy for the groups of persons it is meant for, foreseeable "
        "unintended outcomes, and why the metrics are appropriate.",
        (_LIMITS, _CLASSES, _SUBGROUPS, _FINDINGS),
        "The intended purpose, and whether a metric suits it.",
    ),
    Asked(
        "EU AI Act, Art. 12",
        "Events are recorded automatically over the system's lifetime.",
        (_PROVENANCE, ("failures", "failures")),
        "The log of the system in use: an audit records what the audit asked, not what users asked.",
    ),
    Asked(
        "EU AI Act, Art. 13",
        "Deployers can interpret the output and are told accuracy, known limits, performance for groups and, where "
        "applicable, what explains the output.",
        (_LIMITS, _TESTS, _SUBGROUPS, ("glossary", "words")),
        "Instructions for use, and the persons to turn to.",
    ),
    Asked(
        "ISO/IEC 42001:2023, Annex A (verification and validation; technical documentation; event logs; information "
        "for users; provenance of data)",
        "Controls that an organisation picks by its statement of applicability. The numbers of controls are left out "
        "here: look them up in the standard's own text.",
        (_TESTS, _PROVENANCE, _LIMITS, ("glossary", "words")),
        "The management system itself: policy, roles, risk and impact assessment.",
    ),
    Asked(
        "NIST AI RMF 1.0, MEASURE 2.9",
        "The model is explained, validated and documented, and its output is interpreted within its context.",
        (_FINDINGS, _TESTS, _LIMITS),
        "The context, which the function MAP names.",
    ),
    Asked(
        "NIST AI RMF 1.0, MEASURE 2.1, 2.5 and 2.11",
        "Test sets, metrics and tools are documented; validity and its limits are shown; fairness is evaluated.",
        (_PROVENANCE, _TESTS, _SUBGROUPS, _LIMITS),
        "Which groups matter, and what counts as fair.",
    ),
)
"""Rules, what they ask for and where the report has facts on it. No claim of conformity follows."""
