"""A grammar of short stories: a hero, a plot, a place and things, told in varied but coherent sentences."""

import re

from skills import article, capital_first, split

GIRLS = split("Lily/Anna/Mia/Emma/Rosa/Nina/Ella/Daisy/Luna/Molly/Ruby/Clara/Sophie/Tilly/Bella/Zoe")
BOYS = split("Tom/Ben/Max/Sam/Leo/Tim/Jack/Oscar/Felix/Hugo/Finn/Otto/Charlie/Billy/Theo/Pip")
ANIMALS = split("fox/rabbit/bear/mouse/cat/dog/frog/duck/owl/squirrel/hedgehog/turtle/bird/pig/lion/elephant/goat/horse"
                "/wolf/kitten/puppy/bee/snail/penguin/monkey/tiger/sheep/crab/deer/beaver/otter/mole/butterfly/whale"
                "/dragon/panda/crow/hen/donkey/giraffe/dinosaur/unicorn/spider/fish/ant/camel/zebra/kangaroo/parrot/swan"
                "/goose/cow/shark/octopus/seal/bat/rat/hamster/koala/worm/dolphin/badger/lamb/pony/chicken")
GIRL_KINDS = split("girl/princess/queen/witch/fairy/mermaid/grandmother")
BOY_KINDS = split("boy/prince/king/wizard/knight/pirate/farmer/giant/grandfather")
OTHER_KINDS = split("robot/baker/sailor/gardener/ghost/snowman/teacher/painter/train/boat/cloud/star/tree/doctor"
                    "/captain/nurse/cook/driver/alien/astronaut/car/truck/plane/rocket/snowflake/pumpkin/teapot/clown"
                    "/scientist/computer/musician")
KINDS = ANIMALS + GIRL_KINDS + BOY_KINDS + OTHER_KINDS
TRAITS = split("kind/brave/clever/shy/curious/cheerful/gentle/merry/quiet/friendly")
SIZES = split("little/small/young/tiny/happy/old")
PLACES = split("in a green forest/near a blue lake/on a high hill/in a small village/by the sea/in a quiet valley"
               "/next to a wide river/in a big garden/on a little farm/at the edge of the woods/in an old castle"
               "/on a small island")
THINGS = split("ball/kite/hat/key/book/bell/drum/lamp/coin/shell/feather/boat/ring/scarf/map/flower/box/stone/star"
               "/button/basket/spoon/umbrella/clock/cup/blanket")
COLOURS = split("red/blue/green/yellow/golden/silver/white/purple/shiny/pretty")
FOODS = split("apple/cake/pie/pear/loaf of bread/cookie/pot of soup/carrot/plum/bun")
TREATS = split("cake/pie/bun/pudding")
HIDING = split("under a bush/behind a big tree/under the bridge/in the tall grass/behind an old wall/under a bench")
FEARS = split("the dark/deep water/loud thunder/high places/the big woods")
ARTS = split("swim/sing/dance/paint/read/whistle/climb/bake/juggle/skate")
SEEDS = split("sunflower/rose/pumpkin/bean/apple tree/tulip")

# The wordings of each sentence are separated by ` / `; a plot is the list of its sentences.
OPENINGS = [
    "Once upon a time there was a {size} {kind} named {N}. / Once upon a time, a {size} {kind} named {N} lived {place}. "
    "/ There once was a {size} {kind}. {His} name was {N}. / Long ago, a {size} {kind} called {N} lived {place}. "
    "/ One day, a {size} {kind} named {N} woke up early.",
    "{N} was very {trait}. / {N} was {trait}, and everyone liked {him}. / All the others knew that {N} was {trait}. "
    "/ {He} was a {trait} {kind}.",
]
PLOTS = {
    "lost": [
        "{N} had a {colour} {thing} that {he} loved very much. / {His} favourite thing was a {colour} {thing}.",
        "One morning, the {thing} was gone. / One day {he} could not find {his} {thing}.",
        "{N} looked under the bed and behind the door, but it was not there. / {He} looked everywhere, but {he} could not "
        "see it. / {He} looked in the house and in the yard, but the {thing} was not there.",
        "{He} felt sad and began to cry. / {N} was very sad. / A tear ran down {his} face.",
        "Then {his} friend {F} the {fkind} came by. / Just then a {fkind} named {F} came along.",
        "\"Why are you sad?\" asked {F}. / \"What is wrong?\" asked {F}.",
        "\"I lost my {thing},\" said {N}. / \"I cannot find my {thing},\" said {N}.",
        "\"Do not cry. I will help you,\" said {F}. / \"Let us look together,\" said {F}.",
        "They looked {hiding}, and there was the {colour} {thing}! / They walked all around, and at last they found the "
        "{thing} {hiding}.",
        "\"Thank you, {F}!\" said {N} and smiled. / {N} was so happy that {he} gave {F} a big hug.",
    ],
    "friend": [
        "But {N} was lonely, because {he} had no one to play with. / {He} had no friends, and {he} often felt alone.",
        "One day {he} took {his} {colour} {thing} and went for a walk. / One sunny day {he} went out with {his} {colour} "
        "{thing}.",
        "On the way {he} met a {fkind} named {F}. / Soon {he} saw a {fkind}. \"I am {F},\" said the {fkind}.",
        "\"May I play with your {thing}?\" asked {F}. / \"What a nice {thing}! Can I play too?\" asked {F}.",
        "At first {N} did not know what to say. / {N} thought about it for a moment.",
        "\"Yes, let us play together,\" said {N}. / \"Of course,\" said {N} with a smile.",
        "They played with the {thing} until the sun went down. / They laughed and played all day long.",
        "\"Will you come again tomorrow?\" asked {N}. \"Yes!\" said {F}. / \"Now we are friends,\" said {F}.",
        "From that day on, {N} was never lonely again. / {N} went home with a warm heart.",
    ],
    "storm": [
        "One evening, dark clouds came over the sky. / One day, the wind began to blow very hard.",
        "It began to rain, and there was loud thunder. / Soon it was raining, and the wind was cold.",
        "{N} ran home and closed the door. / {N} was glad to be safe in {his} warm home.",
        "Then {he} heard a knock. / Suddenly, someone knocked at the door.",
        "It was a {fkind} named {F}, who was wet and cold. / Outside stood {F} the {fkind}, wet from head to toe.",
        "\"Please, may I come in?\" asked {F}. / \"I have no place to go,\" said {F}.",
        "\"Come in and sit by the fire,\" said {N}. / \"Of course! Come in,\" said {N}.",
        "{N} gave {F} {a_food}, and they told stories all night. / They shared {a_food} and listened to the rain.",
        "In the morning the sun was shining, and {F} gave {N} a {colour} {thing} to say thank you. / When the storm was "
        "over, {F} gave {N} a {colour} {thing} as a gift.",
    ],
    "fear": [
        "But there was one thing {he} was afraid of: {fear}. / But {N} was afraid of {fear}.",
        "One day {his} friend {F} the {fkind} needed help. / One day {he} heard a small voice. It was {F} the {fkind}.",
        "\"Help! My {thing} is lost, and I cannot get it back,\" said {F}. / \"Please help me. I have lost my {colour} "
        "{thing},\" said {F}.",
        "{N} knew that {he} had to be brave. / {N} was afraid, but {he} wanted to help.",
        "{He} took a deep breath and went on, step by step. / {He} closed {his} eyes, counted to three, and went.",
        "At last {he} found the {thing} and brought it back. / It was hard, but {he} came back with the {thing}.",
        "\"You are so brave!\" said {F}. / \"Thank you! You saved my {thing},\" said {F}.",
        "After that, {N} was not afraid of {fear} any more. / {N} smiled, for {fear} did not seem so bad now.",
    ],
    "share": [
        "One day {he} had a big {food}. / One day {N} found a big {food}.",
        "{He} wanted to eat it all alone. / \"This is all for me,\" {he} said.",
        "Then {F} the {fkind} came by. / But then {he} saw {F}, a hungry {fkind}.",
        "\"I am so hungry. I have eaten nothing today,\" said {F}. / \"I have nothing to eat,\" said {F} in a small voice.",
        "{N} looked at the {food} and then at {F}. / {N} thought for a while.",
        "\"Let us share it,\" said {N}, and {he} gave half of it to {F}. / \"Here, half of it is for you,\" said {N}.",
        "They sat down together and ate. / They ate together in the sun.",
        "\"It tastes better when we share,\" said {N}. / {N} saw that sharing made {him} happy.",
        "The next day, {F} came back with a {colour} {thing} for {N}. / To say thank you, {F} gave {N} a {colour} {thing}.",
    ],
    "learn": [
        "More than anything, {N} wanted to learn how to {art}. / {N} had one big wish: {he} wanted to {art}.",
        "The first time {he} tried, it went wrong, and everyone laughed. / {He} tried and tried, but {he} could not do it.",
        "{N} was sad and wanted to give up. / \"I will never learn it,\" said {N}.",
        "But {F}, a wise old {fkind}, said, \"Try a little every day.\" / Then {F} the {fkind} said, \"I will show you. "
        "Try again.\"",
        "So {N} tried again every morning. / So {he} worked hard, day after day.",
        "After many days, {he} could {art} a little. / Slowly, {he} got better and better.",
        "In the end, {N} could {art} very well, and everyone clapped. / One day {he} could {art} better than anyone else.",
        "{F} was proud and gave {him} a {colour} {thing}. / As a prize, {N} got a {colour} {thing}.",
    ],
    "treasure": [
        "One day {he} found an old map {hiding}. / One morning {N} saw a map {hiding}.",
        "The map showed the way to a treasure. / On the map there was a big red cross.",
        "{He} showed it to {his} friend {F} the {fkind}. / {N} ran to {F}, {his} friend, who was a {fkind}.",
        "\"Let us find the treasure!\" said {F}. / \"Let us go there together,\" said {F}.",
        "They walked over the hills and through a deep valley. / They walked for a long time, over a bridge and along a "
        "river.",
        "At last they came to the right place and began to dig. / When they came to the place, they began to dig.",
        "In the ground was a small box, and in the box was a {colour} {thing}. / They found a box. Inside was a {colour} "
        "{thing}.",
        "\"It is beautiful!\" said {N}. / \"What a wonderful {thing}!\" said {F}.",
        "But {N} knew that the best treasure was a good friend. / They took the {thing} home and kept it for ever.",
    ],
    "seed": [
        "One day {F}, an old {fkind}, gave {N} a small seed. / One spring day, {N} got a seed from {F} the {fkind}.",
        "\"Plant it and be patient,\" said {F}. / \"Give it water every day,\" said {F}.",
        "{N} put the seed into the ground and gave it water. / {N} dug a small hole with a {thing} and put the seed into it.",
        "{He} waited one day, and two days, but nothing happened. / Every morning {he} looked, but there was nothing to see.",
        "\"Will it ever grow?\" asked {N}. / {N} was sad, but {he} did not give up.",
        "Then, after a warm rain, a tiny green leaf came up. / One morning there was a small green plant.",
        "It grew and grew, and it became a beautiful {seed}. / Week after week it grew, until it was a big {seed}.",
        "\"You see, good things take time,\" said {F}. / {N} was proud and showed it to all {his} friends.",
    ],
    "race": [
        "One day {F}, a proud {fkind}, said, \"I am faster than everyone.\" / {F} the {fkind} always said that nobody was "
        "faster.",
        "\"Let us have a race,\" said {N}. / {N} asked {F} to race with {him}.",
        "The winner would get a {colour} {thing}. / The prize was a {colour} {thing}.",
        "When the race began, {F} ran far ahead. / {F} was soon far in front.",
        "\"I have so much time,\" said {F}, and lay down to sleep. / Then {F} stopped to rest and fell asleep.",
        "But {N} went on and on, slowly, and never stopped. / {N} did not stop. {He} walked past {F} without a sound.",
        "When {F} woke up, {N} was already at the end. / {F} woke up too late, and {N} won the race.",
        "\"You won because you did not give up,\" said {F}. / {F} was sorry and said, \"I will not be so proud again.\"",
        "{N} took the {thing} and smiled. / {N} got the {colour} {thing}, and everyone clapped.",
    ],
    "surprise": [
        "It was the birthday of {F} the {fkind}, {his} best friend. / {His} friend {F}, a {fkind}, had a birthday.",
        "{N} wanted to make a surprise. / \"I want to make {F} happy,\" thought {N}.",
        "First {he} baked a {treat}. / {He} made a big {treat} all by {self}.",
        "Then {he} put a {colour} {thing} into a box. / {He} also found a {colour} {thing} and put a ribbon on it.",
        "{He} asked all the friends to come and to be very quiet. / All the friends came and hid behind the trees.",
        "When {F} came, everyone jumped up. \"Surprise!\" they called. / {F} came home, and all of them shouted, "
        "\"Happy birthday!\"",
        "{F} opened the gift and saw the {thing}. / {F} was so happy to see the {thing}.",
        "\"This is the best day of my life,\" said {F}. / \"Thank you, {N}. You are a true friend,\" said {F}.",
        "They danced and ate until the moon was high. / They sang songs until it was late.",
    ],
}
ENDINGS = [
    "And they lived happily ever after. / Then {N} went home and slept well. / It was a very good day. "
    "/ And {N} was happy. / That night, {N} had sweet dreams. / And so they stayed friends for ever."
]


class Story:
    """One story: its text, and the facts in it about which one can ask."""

    def __init__(self, rng, kind=None, thing=None, name=None):
        self.plot = rng.choice(sorted(PLOTS))
        self.kind = kind or rng.choice(KINDS)
        girl = self.kind in GIRL_KINDS or (self.kind not in BOY_KINDS and rng.random() < 0.5)
        if name:
            girl = name in GIRLS
        self.name = name or rng.choice(GIRLS if girl else BOYS)
        self.thing = thing or rng.choice([t for t in THINGS if t != self.kind])
        self.friend = rng.choice([n for n in GIRLS + BOYS if n != self.name])
        self.friend_kind = rng.choice([k for k in ANIMALS if k != self.kind])
        food = rng.choice(FOODS)
        values = {
            "N": self.name, "kind": self.kind, "F": self.friend, "fkind": self.friend_kind, "thing": self.thing,
            "he": "she" if girl else "he", "him": "her" if girl else "him", "his": "her" if girl else "his",
            "self": "herself" if girl else "himself", "food": food, "a_food": article(food), "treat": rng.choice(TREATS),
            "size": rng.choice(SIZES), "trait": rng.choice(TRAITS), "place": rng.choice(PLACES),
            "colour": rng.choice(COLOURS), "hiding": rng.choice(HIDING), "fear": rng.choice(FEARS),
            "art": rng.choice(ARTS), "seed": rng.choice(SEEDS),
        }
        values.update(He=values["he"].capitalize(), His=values["his"].capitalize())
        sentences = [rng.choice(choices.split(" / ")).strip().format(**values)
                     for choices in OPENINGS + PLOTS[self.plot] + ENDINGS]
        text = " ".join(capital_first(sentence) for sentence in sentences)
        self.text = re.sub(r"\b([Aa]) (?=[aeio]|u(?!ni))", r"\1n ", text)

    def questions(self):
        """Questions about the story with their answers."""
        return [
            (split("What was the name of the {k}?/What was the {k} called?/Who was the story about?/Who is the hero?"
                   "/What is the name of the hero?"), f"The {self.kind} was called {self.name}."),
            (split("Who was the friend?/Who else was in the story?/Who came to {n}?/Who was {f}?/Who is {f}?"),
             f"{self.friend} was {article(self.friend_kind)}."),
        ]

    def ask(self, rng):
        """One question about the story and its answer."""
        wordings, answer = rng.choice(self.questions())
        return rng.choice(wordings).format(k=self.kind, n=self.name, f=self.friend), answer


REQUESTS = split("Tell me a story about {k}./Tell me a short story about {k}./Can you tell me a story about {k}?"
                 "/Write a story about {k}./Please tell me a story about {k}./I want to hear a story about {k}."
                 "/A story about {k}, please./Tell a story about {k}./Write a short story about {k}."
                 "/Do you know a story about {k}?/Could you tell me a tale about {k}?/Make up a story about {k}.")
ANY_REQUESTS = split("Tell me a story./Tell me a short story./Can you tell me a story?/Write a story./A story, please."
                     "/Please tell me a story./I want to hear a story./Do you know a story?/Make up a story."
                     "/Write a short story./Tell me a bedtime story./Yes, tell me a story./Tell me another story."
                     "/Another story, please./One more story!")


def request(rng):
    """A request for a story, and the story that fulfils it."""
    draw = rng.random()
    if draw < 0.2:
        return rng.choice(ANY_REQUESTS), Story(rng)
    kind = rng.choice(KINDS)
    subject = article(kind)
    if draw < 0.35:
        thing = rng.choice([t for t in THINGS if t != kind])
        subject += " and " + article(thing)
        story = Story(rng, kind, thing)
        while story.thing not in story.text:
            story = Story(rng, kind, thing)
    elif draw < 0.5:
        name = rng.choice(BOYS if kind in BOY_KINDS else GIRLS if kind in GIRL_KINDS else GIRLS + BOYS)
        subject += f" {rng.choice(['named', 'called'])} {name}"
        story = Story(rng, kind, None, name)
    else:
        story = Story(rng, kind)
    return rng.choice(REQUESTS).format(k=subject), story
