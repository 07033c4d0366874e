"""Passages with questions that they answer and questions that only look so, to see what a model makes of them.

Written for edge, in the styles that people ask about: manuals, contracts, letters, minutes, history, science. The
second kind of question is about something the passage names and does not tell, or shifts a name, a date or a number.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    passage: str
    answerable: tuple[str, ...]
    unanswerable: tuple[str, ...]


EXAMPLES = (
    Example(
        "The circulation pump of the boiler room is a Halden P40. It runs at two speeds and is switched by the "
        "thermostat in the hall. The shaft seal must be replaced every 4,000 hours of operation or when water drips "
        "from the housing. Before the housing is opened, both shut-off valves are closed and the main fuse is taken "
        "out.",
        ("After how many hours is the shaft seal replaced?", "What switches the speed of the circulation pump?"),
        ("What does a new shaft seal cost?", "After how many hours is the thermostat replaced?"),
    ),
    Example(
        "Either party may terminate this agreement with three months' notice to the end of a quarter. Notice must be "
        "given in writing. If the tenant is more than two rents in arrears, the landlord may terminate without notice. "
        "The deposit is paid back within six weeks after the keys have been handed over, less the cost of any damage.",
        ("How long is the period of notice?", "Within what time is the deposit paid back?"),
        ("How high is the deposit?", "Within what time must the tenant pay for damage?"),
    ),
    Example(
        "The lighthouse on Skerry Point was lit for the first time on 3 October 1846. Its tower of granite is 31 "
        "metres high and has 142 steps. Until 1921 the lamp burned whale oil, then paraffin. The last keeper, Agnes "
        "Morrow, left the island in 1978, when the light was automated. Since then a contractor visits it twice a "
        "year.",
        ("When was the lighthouse lit for the first time?", "Who was the last keeper of the lighthouse?"),
        ("Who was the first keeper of the lighthouse?", "When was the lighthouse lit for the last time?"),
    ),
    Example(
        "Soak the beans overnight in cold water. On the next day, drain them and boil them in fresh water with a bay "
        "leaf for 50 minutes. Salt goes in only at the end, or the skins stay hard. Fry two onions in olive oil until "
        "they are golden, add three chopped tomatoes and a spoonful of vinegar, and stir in the beans.",
        ("Why is the salt added only at the end?", "How many onions are needed?"),
        ("How many people does the dish serve?", "Why is the vinegar added only at the end?"),
    ),
    Example(
        "Minutes of the meeting of 12 March. Present: Okafor, Lindqvist, Braun. The board approved the budget of "
        "240,000 euros for the new warehouse against the vote of Mr Braun, who found the floor too weak for the "
        "planned racks. Ms Lindqvist will obtain an expert opinion on the floor by the end of April. The next meeting "
        "is on 9 May.",
        ("Who voted against the budget?", "By when will the expert opinion be obtained?"),
        ("Who will build the new warehouse?", "What did the expert say about the floor?"),
    ),
    Example(
        "Barn owls hunt at dusk and at night, mostly voles and shrews, which they find by hearing: the left ear lies "
        "higher than the right one, so that a sound from below arrives at them differently. A pair raises four to six "
        "young a year, and in years with many voles a second brood follows. In hard winters up to half of the birds "
        "starve.",
        ("How do barn owls find their prey?", "What happens in years with many voles?"),
        ("How old do barn owls become in the wild?", "How many young does a pair raise in hard winters?"),
    ),
    Example(
        "To pair the headset, hold the power button for seven seconds until the lamp flashes blue and red. Then choose "
        "HS-210 in the list of your phone. The headset remembers eight devices; a ninth one takes the place of the "
        "oldest. A full charge takes 90 minutes and lasts for 22 hours. A red lamp that stays on means that the "
        "battery is below ten percent.",
        ("How long must the power button be held to pair the headset?", "How many devices does the headset remember?"),
        ("How far away from the phone may the headset be?", "What does a blue lamp that stays on mean?"),
    ),
    Example(
        "In 1683 the council of Varn forbade the tanners to work inside the walls, because of the smell and the foul "
        "water. Most of them moved to the meadows below the mill, where their street, the Gerbergang, still bears "
        "their name. Only the family Dorn stayed: it had lent the town 900 guilders and was left alone.",
        ("Why was the family Dorn allowed to stay?", "Where did most of the tanners move?"),
        ("When did the town pay the 900 guilders back?", "Who built the mill below the town?"),
    ),
    Example(
        "Adults take one tablet of 250 mg in the morning and one in the evening, with a glass of water and not on an "
        "empty stomach. Children under twelve must not take this medicine. If you forgot a tablet, do not take two at "
        "once. Stop and see a doctor if a rash appears. Do not store above 25 degrees.",
        ("How many tablets do adults take a day?", "What should be done if a rash appears?"),
        ("How many tablets do children take a day?", "For how many days is the medicine taken?"),
    ),
    Example(
        "The first bridge over the Ansel was a ferry of boats, which the ice carried away in 1740. The stone bridge of "
        "1768, by the master builder Ruben Halle, has five arches; the middle one was blown up in the war of 1809 and "
        "rebuilt in iron. Cars have not been allowed on it since 1991, when the bypass was opened.",
        ("Who built the stone bridge?", "Since when have cars not been allowed on the bridge?"),
        ("Who rebuilt the middle arch in iron?", "How long is the stone bridge?"),
    ),
    Example(
        "Employees receive 28 days of leave a year, and 30 from the age of fifty. Up to five days may be carried over "
        "and must be used by the end of March. Leave of more than three weeks at a time needs the consent of the head "
        "of the department. Whoever falls ill during leave gets those days back if a certificate is handed in within a "
        "week.",
        ("How many days of leave may be carried over?", "Who must consent to leave of more than three weeks?"),
        ("How many days of leave do trainees receive?", "Who pays for the certificate of a doctor?"),
    ),
    Example(
        "Lake Tessen froze over completely for the last time in the winter of 1985. Its greatest depth of 94 metres is "
        "off the eastern shore, where the valley was cut by a glacier. Whitefish makes up two thirds of the catch of "
        "the eleven fishermen who still live from the lake; pike and perch come next. Motor boats need a licence.",
        ("How deep is Lake Tessen?", "Which fish makes up most of the catch?"),
        ("How wide is Lake Tessen?", "How many fishermen lived from the lake in 1985?"),
    ),
    Example(
        "The error E14 means that the door was opened during the programme. Close it and press Start; the programme "
        "goes on after ten seconds. E15 means that no water comes in: look whether the tap is open and clean the sieve "
        "in the hose. If E15 appears again, call the service. E21 stands for a failed heating element, which only a "
        "technician may replace.",
        ("What does the error E15 mean?", "Who may replace the heating element?"),
        ("What does the error E16 mean?", "Under which number is the service called?"),
    ),
    Example(
        "Clara Venn studied chemistry in Leyden and took her degree in 1903. In the laboratory of Prof. Maas she found "
        "that the dye of the blue lichen changes its colour at a far smaller amount of acid than litmus does. Her "
        "paper of 1907 was printed only after Maas had put his own name first. She left science in 1911 and ran a "
        "school for girls.",
        ("What did Clara Venn do after she had left science?", "Where did Clara Venn study?"),
        ("When was Clara Venn born?", "Where did Prof. Maas study?"),
    ),
    Example(
        "Parcels of up to 5 kg cost 6.90 within the country and 14.50 to the neighbouring countries. They are insured "
        "up to 500. What is handed in before 4 p.m. leaves on the same day. Liquids must be packed in a second, sealed "
        "container; lithium batteries are accepted only inside the device they belong to. A lost parcel must be "
        "reported within 30 days.",
        ("Up to what value are parcels insured?", "By when must a lost parcel be reported?"),
        ("What does a parcel of 8 kg cost?", "How long does a parcel to a neighbouring country take?"),
    ),
    Example(
        "The comet was seen by the shepherd Tomas Iversen on the evening of 2 February, three days before the "
        "observatory confirmed it. It came closest to the Sun on 19 April, at 0.4 astronomical units, and its tail "
        "reached across twenty degrees of the sky. Its period was computed as 312 years, although the orbit was "
        "observed for nine weeks only.",
        ("Who saw the comet first?", "How long is the period of the comet?"),
        ("When did the comet come closest to the Earth?", "Who computed the period of the comet?"),
    ),
)
