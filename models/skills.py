"""Skills of chord-tiny with one right answer: how each is asked and what is answered."""

from dataclasses import dataclass, field
from typing import Callable

import facts


@dataclass
class Skill:
    """One skill: a question is a wording filled with an item, the answer follows from the item alone.

    `asks` are the wordings of the training text (the first is never held out), `unseen` wordings are kept
    for the evaluation alone, `follows` are short ones that make sense only after a question of the same skill.
    """

    name: str
    weight: float
    items: list[dict]
    answer: str | Callable[[dict], str]
    asks: list[str]
    unseen: list[str] = field(default_factory=list)
    follows: list[str] = field(default_factory=list)

    def reply(self, item):
        """The one right answer for an item."""
        return self.answer(item) if callable(self.answer) else self.answer.format(**item)


def split(wordings):
    """Reads wordings separated by `/`."""
    return wordings.split("/")


def article(noun):
    """The noun with `a` or `an` before it."""
    vowel = noun[0].lower() in "aeiou" and not noun.startswith("uni")
    return ("an " if vowel else "a ") + noun


def capital_first(text):
    """The text with its first letter in upper case."""
    return text[0].upper() + text[1:]


def plain_numbers(*sequence):
    """Numbers as a list in words: `1, 2, 3`."""
    return ", ".join(str(number) for number in sequence)


def ring(names):
    """Neighbours in a cyclic list, as items with name, following and previous."""
    count = len(names)
    return [{"n": names[i], "next": names[(i + 1) % count], "before": names[i - 1]} for i in range(count)]


def geography():
    """Countries, capitals and continents."""
    items = [{"c": country, "k": city, "t": continent} for country, city, continent in facts.COUNTRIES]
    return [
        Skill("capital", 5, items, "The capital of {c} is {k}.",
              split("What is the capital of {c}?/What's the capital of {c}?/Capital of {c}?/Name the capital of {c}."
                    "/Tell me the capital of {c}./Which city is the capital of {c}?/Do you know the capital of {c}?"
                    "/What is the capital city of {c}?/Can you tell me the capital of {c}?/{c}: what is the capital?"
                    "/I would like to know the capital of {c}."),
              split("Which city is {c}'s capital?/Please name the capital city of {c}."),
              split("And {c}?/And of {c}?/What about {c}?/How about {c}?/And the capital of {c}?")),
        Skill("country of a capital", 2, items, "{k} is the capital of {c}.",
              split("{k} is the capital of which country?/Which country has the capital {k}?/In which country is {k}?"
                    "/Where is {k}?/What country is {k} in?/What country has {k} as its capital?/Where can I find {k}?"),
              split("Of which country is {k} the capital?/Tell me where {k} is."),
              split("And {k}?/What about {k}?/And where is {k}?")),
        Skill("continent", 1.5, items, "{c} is in {t}.",
              split("On which continent is {c}?/Which continent is {c} on?/What continent is {c} in?/Where is {c}?"
                    "/In which part of the world is {c}?/Tell me the continent of {c}."),
              split("{c} is on which continent?"), split("And {c}?/What about {c}?/And where is {c}?")),
    ]


def things():
    """Colours, opposites, sorts, sizes, mixing colours."""
    colours = [{"x": thing, "k": colour, "X": capital_first(thing)} for thing, colour in facts.COLOURS]
    opposites = [{"x": a, "k": b} for a, b in facts.OPPOSITES] + [
        {"x": b, "k": a} for a, b in facts.OPPOSITES if b not in {"light", "dark"}]
    sorts = [{"x": article(thing), "X": capital_first(article(thing)), "k": article(sort)} for thing, sort in facts.SORTS]
    order = facts.SIZES
    sizes = [{"a": article(a), "b": article(b), "k": max(a, b, key=order.index)} for a in order for b in order if a != b]
    mixes = [{"a": a, "b": b, "k": k} for x, y, k in facts.MIXES for a, b in ((x, y), (y, x))]
    return [
        Skill("colour", 3, colours, lambda i: f"{i['X']} is {i['k']}.",
              split("What colour is {x}?/What color is {x}?/Which colour is {x}?/Which color does {x} have?"
                    "/What colour does {x} have?/Tell me the colour of {x}./What is the colour of {x}?"
                    "/Do you know what colour {x} is?/Name the color of {x}."),
              split("{X} has which colour?/Can you tell me the colour of {x}?"),
              split("And {x}?/What about {x}?/How about {x}?")),
        Skill("opposite", 3, opposites, 'The opposite of "{x}" is "{k}".',
              split("What is the opposite of {x}?/What's the opposite of {x}?/Opposite of {x}?/Tell me the opposite of {x}."
                    "/Give me the opposite of {x}./What is the opposite of the word {x}?/Name the opposite of {x}."
                    "/Which word is the opposite of {x}?/What is the opposite of \"{x}\"?"),
              split("Do you know the opposite of {x}?/{x} is the opposite of what?"),
              split("And {x}?/What about {x}?/And of {x}?")),
        Skill("sort of thing", 2, sorts, "{X} is {k}.",
              split("What is {x}?/What kind of thing is {x}?/What sort of thing is {x}?/Tell me what {x} is."
                    "/Can you explain what {x} is?/Explain {x}./Do you know what {x} is?"),
              split("Could you say what {x} is?"), split("And {x}?/What about {x}?")),
        Skill("size", 1.5, sizes, lambda i: f"{capital_first(article(i['k']))} is bigger.",
              split("What is bigger, {a} or {b}?/Which is bigger, {a} or {b}?/What is larger, {a} or {b}?"
                    "/Is {a} or {b} bigger?/Which one is bigger: {a} or {b}?/{a} or {b}, which is bigger?"),
              split("Tell me what is bigger, {a} or {b}."), split("And {a} or {b}?")),
        Skill("mixed colours", 1, mixes, "If you mix {a} and {b}, you get {k}.",
              split("What do you get when you mix {a} and {b}?/What is {a} mixed with {b}?/Mix {a} and {b}."
                    "/Which colour do {a} and {b} make?/What colour do I get from {a} and {b}?"
                    "/If I mix {a} and {b}, what do I get?"),
              split("What do {a} and {b} give together?"), split("And {a} and {b}?")),
    ]


def animals():
    """Sounds, legs and young of animals."""
    items = [{"x": x, "X": capital_first(article(x)), "ax": article(x), "s": s, "l": l, "y": article(y)}
             for x, s, l, y in facts.ANIMALS]
    legs = items + [{"x": x, "X": capital_first(article(x)), "ax": article(x), "l": l} for x, l in facts.LEGS]
    return [
        Skill("animal sound", 2, items, "{X} says {s}.",
              split("What sound does {ax} make?/What does {ax} say?/What noise does {ax} make?/How does {ax} sound?"
                    "/What is the sound of {ax}?/Which sound does {ax} make?/Make the sound of {ax}."
                    "/What does the {x} say?"),
              split("Tell me the sound of {ax}./Do you know what {ax} says?"),
              split("And {ax}?/What about {ax}?/And the {x}?")),
        Skill("legs", 1.5, legs, lambda i: f"{i['X']} has {'no' if i['l'] == '0' else i['l']} legs.",
              split("How many legs does {ax} have?/How many legs has {ax}?/How many legs are on {ax}?"
                    "/Number of legs of {ax}?/Tell me how many legs {ax} has./What is the number of legs of {ax}?"),
              split("Do you know how many legs {ax} has?"), split("And {ax}?/What about {ax}?")),
        Skill("young animal", 1.5, items, "A young {x} is called {y}.",
              split("What is a baby {x} called?/What is a young {x} called?/What do you call a baby {x}?"
                    "/What is the name of a baby {x}?/How is a young {x} called?/What is the young of {ax}?"),
              split("Tell me what a baby {x} is called."), split("And a baby {x}?/And a young {x}?")),
    ]


def arithmetic():
    """Sums and differences up to 20, comparisons, odd and even."""
    numbers = range(21)
    sums = [{"a": a, "b": b, "k": a + b} for a in numbers for b in range(21 - a)]
    differences = [{"a": a, "b": b, "k": a - b} for a in numbers for b in range(a + 1)]
    unequal = [{"a": a, "b": b, "k": max(a, b), "s": min(a, b)} for a in numbers for b in numbers if a != b]
    parity = [{"a": a, "k": "odd" if a % 2 else "even"} for a in range(21)]
    return [
        Skill("addition", 14, sums, "{a} + {b} = {k}",
              split("What is {a} + {b}?/What is {a} plus {b}?/{a} + {b}/{a}+{b}/{a} + {b} = ?/{a}+{b}=?/{a} plus {b}"
                    "/How much is {a} plus {b}?/How much is {a} + {b}?/Add {a} and {b}./What is {a} and {b}?"
                    "/Calculate {a} + {b}./Can you add {a} and {b}?/What's {a}+{b}?"),
              split("Tell me {a} plus {b}./What do {a} and {b} make?"),
              split("And {a} + {b}?/And {a} plus {b}?/What about {a} + {b}?")),
        Skill("subtraction", 12, differences, "{a} - {b} = {k}",
              split("What is {a} - {b}?/What is {a} minus {b}?/{a} - {b}/{a}-{b}/{a} - {b} = ?/{a}-{b}=?/{a} minus {b}"
                    "/How much is {a} minus {b}?/How much is {a} - {b}?/Take {b} from {a}./Calculate {a} - {b}."
                    "/Subtract {b} from {a}./What's {a}-{b}?"),
              split("Tell me {a} minus {b}./What is left when I take {b} from {a}?"),
              split("And {a} - {b}?/And {a} minus {b}?/What about {a} - {b}?")),
        Skill("comparison", 2, unequal, "{k} is bigger than {s}.",
              split("Which number is bigger, {a} or {b}?/What is bigger, {a} or {b}?/Which is bigger: {a} or {b}?"
                    "/What is larger, {a} or {b}?/{a} or {b}, which is bigger?/Which is the larger number, {a} or {b}?"
                    "/Is {a} or {b} bigger?/Which is more, {a} or {b}?"),
              split("Tell me the bigger number: {a} or {b}?"), split("And {a} or {b}?")),
        Skill("odd or even", 1, parity, "{a} is {k}.",
              split("Is {a} odd or even?/Is {a} even or odd?/Is the number {a} odd or even?/{a}: odd or even?"
                    "/Odd or even: {a}?/Tell me if {a} is odd or even./Is {a} an even number or an odd number?"),
              split("Do you know if {a} is odd or even?"), split("And {a}?/What about {a}?")),
    ]


def counting():
    """Counting up and down, numbers as words, the next number."""
    up = [{"a": a, "b": b, "k": plain_numbers(*range(a, b + 1))} for a in range(11) for b in range(a + 1, 21)]
    down = [{"a": a, "b": b, "k": plain_numbers(*range(a, b - 1, -1))} for a in range(1, 21) for b in (0, 1)
            if a > b] + [{"a": a, "b": b, "k": plain_numbers(*range(a, b - 1, -1))} for a in (10, 15, 20) for b in range(2, 9)]
    to = [{"b": b, "k": plain_numbers(*range(1, b + 1))} for b in range(2, 31)]
    nextup = [{"a": a, "n": a + 1, "p": a - 1} for a in range(1, 31)]
    named = [{"a": a, "w": w, "W": w.capitalize()} for a, w in enumerate(facts.NUMBER_WORDS)]
    return [
        Skill("count up", 1.5, up, "{k}",
              split("Count from {a} to {b}./Can you count from {a} to {b}?/Count up from {a} to {b}."
                    "/Please count from {a} up to {b}./List the numbers from {a} to {b}./Say the numbers from {a} to {b}."
                    "/Write the numbers from {a} to {b}."),
              split("Could you count from {a} up to {b} for me?"), split("And from {a} to {b}?/Now from {a} to {b}.")),
        Skill("count to", 1, to, "{k}",
              split("Count to {b}./Can you count to {b}?/Count up to {b}./Please count to {b}./Count from one to {b}."
                    "/Start at 1 and count to {b}."), split("Could you count to {b} for me?"),
              split("And to {b}?/Now to {b}.")),
        Skill("count down", 1, down, "{k}",
              split("Count down from {a} to {b}./Count backwards from {a} to {b}./Can you count down from {a} to {b}?"
                    "/Count from {a} down to {b}./Please count backwards from {a} to {b}."),
              split("Could you count from {a} down to {b}?"), split("And from {a} down to {b}?")),
        Skill("next number", 1.5, nextup, "{n} comes after {a}.",
              split("What comes after {a}?/Which number comes after {a}?/What number comes after {a}?"
                    "/What is the next number after {a}?/Which number follows {a}?/What follows {a}?"),
              split("Tell me the number after {a}."), split("And after {a}?")),
        Skill("number before", 1.5, nextup, "{p} comes before {a}.",
              split("What comes before {a}?/Which number comes before {a}?/What number comes before {a}?"
                    "/What is the number before {a}?/Which number is just before {a}?"),
              split("Tell me the number before {a}."), split("And before {a}?")),
        Skill("number as a word", 1, named, "{a} is written {w}.",
              split("Write {a} as a word./How do you write {a} in words?/Write {a} in words./Spell the number {a}."
                    "/How is {a} written?/What is {a} in words?"),
              split("Tell me how to write {a} in words."), split("And {a}?/What about {a}?")),
    ]


def calendar():
    """Neighbours of days, months, seasons and letters."""
    skills = []
    for name, sort, ring_of in (("day", "day", facts.DAYS), ("month", "month", facts.MONTHS),
                                ("season", "season", facts.SEASONS)):
        items = ring(ring_of)
        skills.append(Skill(f"{name} after", 1, items, lambda i: capital_first(f"{i['next']} comes after {i['n']}."),
                            split(f"What {sort} comes after {{n}}?/Which {sort} comes after {{n}}?/What comes after {{n}}?"
                                  f"/Which {sort} follows {{n}}?/What is the {sort} after {{n}}?/What follows {{n}}?"
                                  f"/{{n}} is followed by which {sort}?/Tell me the {sort} after {{n}}."),
                            split(f"Name the {sort} that comes after {{n}}."), split("And after {n}?")))
        skills.append(Skill(f"{name} before", 1, items, lambda i: capital_first(f"{i['before']} comes before {i['n']}."),
                            split(f"What {sort} comes before {{n}}?/Which {sort} comes before {{n}}?"
                                  f"/What comes before {{n}}?/What is the {sort} before {{n}}?"
                                  f"/Which {sort} is before {{n}}?/Tell me the {sort} before {{n}}."),
                            split(f"Name the {sort} that comes before {{n}}."), split("And before {n}?")))
    letters = [i for i in ring(facts.ALPHABET) if i["n"] != "Z"]
    skills.append(Skill("letter after", 1, letters, "{next} comes after {n}.",
                        split("Which letter comes after {n}?/What letter comes after {n}?/What letter follows {n}?"
                              "/What is the letter after {n}?/Tell me the letter after {n}.")))
    return skills


def language():
    """Plurals, past tense, spelling."""
    plurals = [{"x": one, "k": many} for one, many in facts.PLURALS]
    pasts = [{"x": now, "k": then} for now, then in facts.PASTS]
    spell = [{"x": word, "k": "-".join(word.upper()), "f": word[0].upper(), "n": len(word)} for word in facts.SPELL]
    return [
        Skill("plural", 2, plurals, 'The plural of "{x}" is "{k}".',
              split("What is the plural of {x}?/What's the plural of {x}?/Plural of {x}?/Tell me the plural of {x}."
                    "/Give me the plural of {x}./What is the plural of the word {x}?/One {x}, two what?"
                    "/What is the plural of \"{x}\"?"),
              split("Do you know the plural of {x}?"), split("And {x}?/What about {x}?/And of {x}?")),
        Skill("past tense", 2, pasts, 'The past tense of "{x}" is "{k}".',
              split("What is the past tense of {x}?/What's the past tense of {x}?/Past tense of {x}?"
                    "/Tell me the past tense of {x}./Give me the past tense of {x}./What is the past of {x}?"
                    "/What is the past tense of \"{x}\"?"),
              split("Do you know the past tense of {x}?"), split("And {x}?/What about {x}?/And of {x}?")),
        Skill("spelling", 1.5, spell, "{k}",
              split("Spell {x}./Spell the word {x}./How do you spell {x}?/Can you spell {x}?/How is {x} spelled?"
                    "/Please spell \"{x}\"."), split("Could you spell {x} for me?"), split("And {x}?/Now spell {x}.")),
        Skill("first letter", 1, spell, 'The first letter of "{x}" is {f}.',
              split("What is the first letter of {x}?/Which letter does {x} start with?/With which letter does {x} begin?"
                    "/What letter does {x} begin with?/First letter of {x}?"), split("Tell me the first letter of {x}.")),
    ]


def fixed(name, weight, entries):
    """A skill of fixed questions, where each entry has wordings of its own; the last of many is never trained on."""
    items, unseen = [], []
    for wordings, answer in entries:
        asked = split(wordings)
        keep = len(asked) - 1 if len(asked) > 4 else len(asked)
        items.extend({"q": q, "k": answer, "first": at == 0} for at, q in enumerate(asked[:keep]))
        unseen.extend({"q": q, "k": answer} for q in asked[keep:])
    return Skill(name, weight, items, lambda i: i["k"], ["{q}"]), Skill(name, 0, unseen, lambda i: i["k"], [], ["{q}"])


def fixed_skills():
    """The skills of fixed questions, as pairs: for training, and with the wordings kept for evaluation."""
    return [fixed("general knowledge", 5, facts.GENERAL), fixed("about itself", 8, facts.ABOUT),
            fixed("small talk", 3, facts.SMALL_TALK)]


def item_skills():
    """All skills whose questions are a wording filled with an item."""
    return geography() + things() + animals() + arithmetic() + counting() + calendar() + language()
