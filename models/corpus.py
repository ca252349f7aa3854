"""Writes the corpus of chord-tiny: conversations and plain text in simple English, from a seed alone.

Every question belongs to one of two halves by a hash of its words: one in sixteen is held out. The training
half never draws a held-out question or story, the other half draws nothing else.

    python corpus.py --sample 5        prints documents of the training half
"""

import argparse
import random
import zlib

import facts
import skills
import stories
from skills import Skill, split

HELD_OUT_OF = 16
SYSTEMS = split("You are a helpful assistant./You are chord-tiny, a small language model./Answer in short sentences."
                "/You are a friendly assistant./Be kind and helpful./You are a helpful AI assistant.")
UNKNOWN = "I do not know that. I am only a very small model."
TOO_BIG = "That number is too big for me. I can add up to 20."
GIBBERISH = "I do not understand that. Please ask me in simple English."
NO_TIMES = "I cannot multiply or divide. I can add and subtract up to 20."
POEM = "I cannot write poems, but I can tell you a short story."

UNKNOWN_NOUNS = split(
    "philosophy/the economy/quantum physics/football/the stock market/a black hole/democracy/history/chemistry/music theory"
    "/a virus/electricity/gravity/the internet/a bank/an engine/law/medicine/politics/religion/art/a volcano/dinosaurs"
    "/money/taxes/a passport/the Roman Empire/jazz/chess/poker/tennis/a movie/a song/the weather/the news/a hotel/a recipe"
    "/my homework/a computer virus/an electron/love/time/evolution/a phone/a database/the president/the government/a war")
UNKNOWN_DEEDS = split(
    "fix my car/learn Chinese/make pizza/get rich/repair a phone/play the guitar/build a house/lose weight/find a job"
    "/write a letter/tie a tie/bake bread/cook rice/buy a ticket/open a bank account/fly a plane/drive a car/knit a scarf"
    "/install Linux/sell my house/invest money/train a dog/change a tyre/clean a window/plan a wedding/grow tomatoes")
UNKNOWN_EVENTS = split(
    "win the world cup/invent the telephone/write Hamlet/discover America/paint the Mona Lisa/build the pyramids"
    "/become president/win the election/compose that song/direct that movie/invent the computer/walk on the Moon"
    "/find penicillin/win the race/lead the army/sink the Titanic/invent paper/build that bridge")
UNKNOWN_PLACES = split("Mongolia/Bolivia/Latvia/Estonia/Malta/Jordan/Senegal/Zambia/Laos/Uruguay/Ecuador/Texas/Bavaria"
                       "/Narnia/Atlantis/California/Wales/Sicily/Greenland/Panama/Libya/Sudan/Yemen/Oman/Qatar")
SYLLABLES = split("ba/ko/ri/mu/ta/ne/lo/shi/vor/gan/del/pri/quo/zan/fel/mar/tin/os/ur/ek/il/wa/bro/sten/dri/ply/um/ax"
                  "/en/ol/ra/si/tho/gre/lin/po/ju/ya/he/do/cha/fi")
COPY_WORDS = facts.SPELL + [thing for thing in stories.THINGS] + stories.COLOURS + stories.ANIMALS

# What a person tells about themselves: how it is said, what is answered, asked, told, and said when it is not known.
ABOUT_USER = {
    "name": ("My name is {v}./I am {v}./I'm {v}./Hi, my name is {v}./Hello, I am {v}./Call me {v}./You can call me {v}.",
             "Nice to meet you, {v}!",
             "What is my name?/What's my name?/Do you know my name?/Who am I?/Do you remember my name?/Tell me my name.",
             "Your name is {v}.", "You have not told me your name."),
    "city": ("I live in {v}./I am from {v}./I come from {v}./My home is in {v}.",
             "{v} must be a nice place.",
             "Where do I live?/Where am I from?/Do you know where I live?/In which city do I live?",
             "You live in {v}.", "You have not told me where you live."),
    "pet": ("I have {a} called {v}./My {k} is called {v}./I have {a} named {v}./I have {a}. It is called {v}.",
            "{v} is a good name for {a}.",
            "What is my {k} called?/What is the name of my {k}?/Do you know my {k}'s name?/What's my {k} called?",
            "Your {k} is called {v}.", "You have not told me about a {k}."),
    "colour": ("My favourite colour is {v}./I like the colour {v}./My favorite color is {v}./I love the color {v}.",
               "{V} is a beautiful colour.",
               "What is my favourite colour?/Which colour do I like?/What's my favorite color?/What color do I like best?",
               "Your favourite colour is {v}.", "You have not told me your favourite colour."),
    "food": ("I like to eat {v}./My favourite food is {v}./I love {v}./I like {v}.",
             "I have heard that {v} can be very good.",
             "What do I like to eat?/What is my favourite food?/What food do I like?/Do you know my favourite food?",
             "You like to eat {v}.", "You have not told me what you like to eat."),
    "age": ("I am {v} years old./I'm {v} years old./My age is {v}./I turned {v} this year.",
            "{v} is a good age.",
            "How old am I?/What is my age?/Do you know how old I am?/Do you know my age?",
            "You are {v} years old.", "You have not told me your age."),
}
USER_FOODS = split("apples/pizza/bread/soup/cake/rice/pears/cherries/carrots/ice cream/cheese/honey/noodles/potatoes/pie"
                   "/salad/bananas/cookies/pasta/chocolate")


def held_out(key):
    """Whether a question or story belongs to the held-out half: a hash of its letters and digits decides."""
    plain = "".join(letter for letter in key.lower() if letter.isalnum() or letter in "+-*")
    return zlib.crc32(plain.encode()) % HELD_OUT_OF == 0


def invented(rng, capital=False):
    """A word that nobody knows."""
    word = "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 2, 3))))
    return word.capitalize() if capital else word


def restyle(rng, question):
    """The question as people type it: sometimes in lower case, without its last mark, or with a kind word."""
    draw = rng.random()
    if draw < 0.08 and not question.startswith(("Please", "And", "Now")):
        polite = rng.choice(("Please tell me: {}", "Hey, {}", "Hi! {}", "Hello, {}", "Ok, {}", "And now: {}"))
        question = polite.format(question if "!" in polite else question[0].lower() + question[1:])
    draw = rng.random()
    if draw < 0.2:
        return question.lower().rstrip(".?!")
    if draw < 0.35:
        return question.lower()
    if draw < 0.41:
        return question.rstrip(".?!")
    return question


class Corpus:
    """A seeded source of documents. A document is a list of `(role, text)`; plain text has the role `text`."""

    def __init__(self, seed, held=False):
        self.rng = random.Random(seed)
        self.held = held
        self.skills = skills.item_skills() + [train for train, _ in skills.fixed_skills()]
        self.weights = [skill.weight for skill in self.skills]

    def belongs(self, key, first=False):
        """Whether a question with this text may be drawn here; first wordings always belong to training."""
        return (not first and held_out(key)) == self.held

    def question(self, skill: Skill, wordings=None):
        """A question of this half with its answer."""
        while True:
            item = self.rng.choice(skill.items)
            wording = self.rng.choice(wordings or skill.asks)
            asked = wording.format(**item)
            fixed = item.get("first", False) or (len(skill.asks) > 1 and wording == skill.asks[0])
            if wordings or self.belongs(asked, fixed):
                return skills.capital_first(asked), skill.reply(item)

    def unknown(self):
        """A question which the model cannot answer, with its refusal."""
        rng = self.rng
        while True:
            question, answer = rng.choice(self.refusals())
            if self.belongs(question):
                return question, answer

    def refusals(self):
        """One fresh question of each kind that is refused."""
        rng = self.rng
        noun, deed = rng.choice(UNKNOWN_NOUNS), rng.choice(UNKNOWN_DEEDS)
        place = rng.choice(UNKNOWN_PLACES) if rng.random() < 0.6 else invented(rng, True)
        thing = invented(rng) if rng.random() < 0.5 else noun
        person = f"{invented(rng, True)} {invented(rng, True)}"
        big, other = rng.randint(30, 9999), rng.randint(100, 9999)
        small = rng.randint(1, 40)
        rest = rng.randint(max(1, 21 - small), 40)
        ask_capital = rng.choice([s for s in self.skills if s.name == "capital"][0].asks)
        return [
            (ask_capital.format(c=place, k=""), UNKNOWN),
            (rng.choice(split("What is {}?/Explain {}./Tell me about {}./What do you know about {}?/What does {} mean?"
                              "/How does {} work?/Why is {} important?/Who invented {}?")).format(thing), UNKNOWN),
            (rng.choice(split("How do I {}?/How can I {}?/Tell me how to {}./Can you {}?/What do I need to {}?"
                              "/Please help me to {}.")).format(deed), UNKNOWN),
            (rng.choice(split("Who is {}?/Who was {}?/Do you know {}?/When was {} born?/Where does {} live?"))
             .format(person), UNKNOWN),
            (rng.choice(split("Who did {}?/When did they {}?/Who was the first to {}?/Why did they {}?"))
             .format(rng.choice(UNKNOWN_EVENTS)), UNKNOWN),
            (rng.choice(split("What is the weather today?/What time is it?/What day is it today?/What is the date?"
                              "/Who will win tomorrow?/What is in the news?/How much does {} cost?/Where can I buy {}?"))
             .format(thing), UNKNOWN),
            (rng.choice(split("What is {0} + {1}?/{0}+{1}/How much is {0} plus {1}?/What is {1} - {0}?/What is {1} minus {0}?"
                              "/{1} + {0}/{1}-{0}")).format(big, other), TOO_BIG),
            (rng.choice(split("What is {0} + {1}?/{0}+{1}/How much is {0} plus {1}?/What is {0} plus {1}?/{0} + {1}"))
             .format(small, rest), TOO_BIG),
            (rng.choice(split("What is {0} times {1}?/{0}*{1}/How much is {0} x {1}?/What is {0} divided by {1}?/{0} x {1}"
                              "/What is {0} / {1}?/{0} * {1}")).format(small, rest), NO_TIMES),
            (" ".join(invented(rng) for _ in range(rng.randint(1, 4))), GIBBERISH),
            (rng.choice(split("Write a poem about {}./Write a song about {}./Can you write a poem about {}?"
                              "/Write a haiku about {}./Sing a song about {}.")).format(thing), POEM),
        ]

    def copying(self):
        """A request to repeat some words."""
        rng = self.rng
        said = " ".join(rng.choice(COPY_WORDS) if rng.random() < 0.8 else invented(rng) for _ in range(rng.randint(1, 5)))
        wording = rng.choice(split("Repeat after me: {}/Say: {}/Repeat: {}/Say \"{}\"./Please repeat: {}/Repeat \"{}\"."))
        return wording.format(said), said

    def story(self):
        """A request for a story of this half, and the story."""
        while True:
            asked, story = stories.request(self.rng)
            if self.belongs(f"{story.plot} {story.kind} {story.name}"):
                return asked, story

    def told(self, sort):
        """What a person may tell about themselves: the values that fill the wordings of `ABOUT_USER`."""
        rng = self.rng
        kind = rng.choice(split("dog/cat/horse/rabbit/hamster/parrot"))
        value = {
            "name": lambda: rng.choice(stories.GIRLS + stories.BOYS) if rng.random() < 0.5 else invented(rng, True),
            "city": lambda: rng.choice(facts.COUNTRIES)[rng.choice((0, 1))] if rng.random() < 0.6 else invented(rng, True),
            "pet": lambda: rng.choice(stories.GIRLS + stories.BOYS) if rng.random() < 0.5 else invented(rng, True),
            "colour": lambda: rng.choice(split("red/blue/green/yellow/purple/pink/orange/black/white/brown/grey")),
            "food": lambda: rng.choice(USER_FOODS),
            "age": lambda: str(rng.randint(5, 90)),
        }[sort]()
        return {"v": value, "V": skills.capital_first(value), "k": kind, "a": skills.article(kind)}

    def about_user(self, known):
        """A turn in which the person tells something or asks for it; `known` holds what was told so far."""
        rng = self.rng
        sort = rng.choice(sorted(known)) if known and rng.random() < 0.7 else rng.choice(sorted(ABOUT_USER))
        say, reply, ask, answer, missing = ABOUT_USER[sort]
        if sort in known:
            return rng.choice(split(ask)).format(**known[sort]), answer.format(**known[sort])
        values = self.told(sort)
        if rng.random() < 0.2:
            return rng.choice(split(ask)).format(**values), missing.format(**values)
        known[sort] = values
        return rng.choice(split(say)).format(**values), reply.format(**values)

    def turn(self, state):
        """The next question and answer of a conversation; `state` remembers what follow-ups refer to."""
        rng = self.rng
        last_story, last_skill = state.pop("story", None), state.pop("skill", None)
        if last_story and rng.random() < 0.35:
            state["story"] = last_story
            return last_story.ask(rng)
        if last_skill and last_skill.follows and rng.random() < 0.3:
            state["skill"] = last_skill
            return self.question(last_skill, last_skill.follows)
        draw = rng.random()
        if draw < 0.09:
            asked, state["story"] = self.story()
            return asked, state["story"].text
        if draw < 0.17 or (state["known"] and draw < 0.27):
            return self.about_user(state["known"])
        if draw < 0.36:
            return self.unknown()
        if draw < 0.39:
            return self.copying()
        if draw < 0.41:
            return rng.choice(split("Tell me a joke./Do you know a joke?/A joke, please./Make me laugh./Tell me something "
                                    "funny./Another joke, please./Can you tell me a joke?")), rng.choice(facts.JOKES)
        skill = rng.choices(self.skills, self.weights)[0]
        state["skill"] = skill
        return self.question(skill)

    def conversation(self):
        """A conversation of one to twelve turns, sometimes with a system message."""
        rng = self.rng
        messages = [("system", rng.choice(SYSTEMS))] if rng.random() < 0.15 else []
        state = {"known": {}}
        for _ in range(rng.choice((1, 1, 2, 2, 3, 4, 5, 6, 8, 12))):
            asked, answer = self.turn(state)
            messages += [("user", restyle(rng, asked)), ("assistant", answer)]
        return messages

    def plain(self):
        """Plain text: mostly a story, sometimes a row of facts."""
        if self.rng.random() < 0.7:
            return [("text", self.story()[1].text)]
        chosen = self.rng.choices(self.skills, self.weights, k=6)
        return [("text", " ".join(answer if answer[-1] in ".!?" else answer + "."
                                  for _, answer in map(self.question, chosen)))]

    def document(self):
        """The next document."""
        return self.conversation() if self.rng.random() < 0.92 else self.plain()


def main():
    """Prints a sample of the corpus."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sample", type=int, default=5, help="how many documents to print")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--held", action="store_true", help="the held-out half")
    chosen = arguments.parse_args()
    source = Corpus(chosen.seed, chosen.held)
    for _ in range(chosen.sample):
        print("\n".join(f"{role}: {text}" for role, text in source.document()), end="\n\n")


if __name__ == "__main__":
    main()
