"""A right reply to each of the forty general questions."""

from __future__ import annotations

from edge.evaluation.skills import ARITHMETIC, INSTRUCTIONS, KNOWLEDGE

_KNOWN = """Paris.|The capital of Japan is Tokyo.|Mercury|Mars|William Shakespeare wrote it.|The Pacific Ocean.
|Carbon dioxide (CO2)|Eight legs.|7|100 degrees|H2O|Africa|The dog.|Green|China|cold|The heart.|Portuguese""".replace(
    "\n", ""
).split("|")
_COUNTED = (
    "2 + 3 = 5|15|The answer is 6.|42|5|Ten|25|99|71|You have 5 apples.|20|There are 120 minutes in two hours.".split(
        "|"
    )
)
_DONE = "Blue.|1, 2, 3, 4, 5|lantern|Yes.|No.|Gracias|HOUSE|Children|away|went".split("|")

RIGHT = {
    question: answer
    for questions, answers in ((KNOWLEDGE, _KNOWN), (ARITHMETIC, _COUNTED), (INSTRUCTIONS, _DONE))
    for (question, _), answer in zip(questions, answers, strict=True)
}
