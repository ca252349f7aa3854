"""The tables of facts from which the corpus of chord-tiny is made."""


def pairs(text, separator=":"):
    """Reads `left: right` entries, separated by commas or line ends, in order."""
    entries = [entry.strip() for line in text.strip().splitlines() for entry in line.split(",")]
    return [tuple(part.strip() for part in entry.split(separator)) for entry in entries if entry]


def words(text):
    """Reads entries separated by commas or line ends."""
    return [entry.strip() for line in text.strip().splitlines() for entry in line.split(",") if entry.strip()]


# country: capital: continent
COUNTRIES = pairs("""
France: Paris: Europe, Germany: Berlin: Europe, Italy: Rome: Europe, Spain: Madrid: Europe
Portugal: Lisbon: Europe, Greece: Athens: Europe, Austria: Vienna: Europe, Poland: Warsaw: Europe
Sweden: Stockholm: Europe, Norway: Oslo: Europe, Finland: Helsinki: Europe, Denmark: Copenhagen: Europe
Ireland: Dublin: Europe, England: London: Europe, Scotland: Edinburgh: Europe, Belgium: Brussels: Europe
Hungary: Budapest: Europe, Ukraine: Kyiv: Europe, Switzerland: Bern: Europe, Iceland: Reykjavik: Europe
Russia: Moscow: Europe, Turkey: Ankara: Asia, Japan: Tokyo: Asia, China: Beijing: Asia, India: New Delhi: Asia
Thailand: Bangkok: Asia, Vietnam: Hanoi: Asia, Iran: Tehran: Asia, Iraq: Baghdad: Asia, Nepal: Kathmandu: Asia
Egypt: Cairo: Africa, Kenya: Nairobi: Africa, Morocco: Rabat: Africa, Ghana: Accra: Africa, Nigeria: Abuja: Africa
Canada: Ottawa: North America, Mexico: Mexico City: North America, Cuba: Havana: North America
Brazil: Brasilia: South America, Argentina: Buenos Aires: South America, Chile: Santiago: South America
Peru: Lima: South America, Colombia: Bogota: South America, Australia: Canberra: Oceania
""")

COLOURS = pairs("""
the sky: blue, the sea: blue, grass: green, a leaf: green, a frog: green, a cucumber: green, a banana: yellow
a lemon: yellow, the sun: yellow, snow: white, milk: white, salt: white, a swan: white, a polar bear: white
coal: black, the night: black, a raven: black, blood: red, a tomato: red, a strawberry: red, a cherry: red
a fire truck: red, an orange: orange, a carrot: orange, a pumpkin: orange, chocolate: brown, a bear: brown
coffee: brown, wood: brown, a flamingo: pink, a pig: pink, an elephant: grey, a mouse: grey, a rain cloud: grey
a plum: purple, lavender: purple, a violet: purple
""")

OPPOSITES = pairs("""
hot: cold, big: small, up: down, left: right, day: night, black: white, happy: sad, fast: slow, old: young
new: ancient, open: closed, full: empty, high: low, hard: soft, wet: dry, light: dark, loud: quiet, long: short
rich: poor, strong: weak, thick: thin, true: false, early: late, near: far, first: last, good: bad, clean: dirty
easy: difficult, heavy: weightless, sweet: sour, front: back, inside: outside, above: below, always: never
push: pull, win: lose, begin: end, buy: sell, give: take, laugh: cry, asleep: awake, alive: dead, brave: afraid
love: hate, summer: winter, yes: no, deep: shallow, wide: narrow, smooth: rough, friend: enemy
""")

# animal: its sound: its legs: its young
ANIMALS = pairs("""
dog: woof: 4: puppy, cat: meow: 4: kitten, cow: moo: 4: calf, sheep: baa: 4: lamb, goat: maa: 4: kid
horse: neigh: 4: foal, pig: oink: 4: piglet, duck: quack: 2: duckling, hen: cluck: 2: chick, goose: honk: 2: gosling
lion: roar: 4: cub, wolf: howl: 4: pup, frog: croak: 4: tadpole, owl: hoot: 2: owlet, bee: buzz: 6: larva
mouse: squeak: 4: pup, donkey: hee-haw: 4: foal, snake: hiss: 0: hatchling, bear: growl: 4: cub
crow: caw: 2: chick, elephant: trumpet: 4: calf, tiger: roar: 4: cub
""")
LEGS = pairs("spider: 8, ant: 6, butterfly: 6, octopus: 8, bird: 2, chicken: 2, fish: 0, crab: 10, rabbit: 4, "
             "fox: 4, person: 2, worm: 0, table: 4, beetle: 6, giraffe: 4, penguin: 2")

PLURALS = pairs("""
cat: cats, dog: dogs, book: books, tree: trees, car: cars, house: houses, apple: apples, star: stars, bird: birds
box: boxes, fox: foxes, bus: buses, glass: glasses, brush: brushes, dish: dishes, church: churches, watch: watches
baby: babies, city: cities, story: stories, party: parties, berry: berries, lady: ladies, toy: toys, key: keys
leaf: leaves, wolf: wolves, knife: knives, wife: wives, loaf: loaves, shelf: shelves, potato: potatoes
tomato: tomatoes, man: men, woman: women, child: children, foot: feet, tooth: teeth, goose: geese, mouse: mice
sheep: sheep, fish: fish, deer: deer, person: people, ox: oxen
""")

PASTS = pairs("""
go: went, see: saw, eat: ate, drink: drank, run: ran, swim: swam, sing: sang, come: came, take: took, give: gave
make: made, find: found, think: thought, buy: bought, bring: brought, teach: taught, catch: caught, write: wrote
read: read, speak: spoke, break: broke, fall: fell, fly: flew, grow: grew, know: knew, sleep: slept, keep: kept
leave: left, feel: felt, tell: told, say: said, is: was, have: had, do: did, walk: walked, play: played, jump: jumped
help: helped, look: looked, laugh: laughed, dance: danced, stop: stopped, cry: cried, try: tried
""")

DAYS = words("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
MONTHS = words("January, February, March, April, May, June, July, August, September, October, November, December")
SEASONS = words("spring, summer, autumn, winter")
NUMBER_WORDS = words("zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, "
                     "fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty")
ALPHABET = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

# From small to big: what is bigger follows from the order.
SIZES = words("ant, bee, mouse, frog, cat, dog, sheep, pig, cow, horse, elephant, whale, mountain")

# what it is: article and sort
SORTS = pairs("""
apple: fruit, banana: fruit, pear: fruit, cherry: fruit, lemon: fruit, carrot: vegetable, onion: vegetable
potato: vegetable, cabbage: vegetable, dog: animal, cat: animal, horse: animal, lion: animal, rabbit: animal
eagle: bird, owl: bird, sparrow: bird, penguin: bird, shark: fish, salmon: fish, rose: flower, tulip: flower
daisy: flower, oak: tree, pine: tree, birch: tree, hammer: tool, saw: tool, shovel: tool, piano: musical instrument
guitar: musical instrument, violin: musical instrument, drum: musical instrument, ant: insect, bee: insect
butterfly: insect, chair: piece of furniture, table: piece of furniture, car: vehicle, bus: vehicle, truck: vehicle
""")

MIXES = pairs("blue+yellow: green, red+yellow: orange, red+blue: purple, black+white: grey, red+white: pink, "
              "green+red: brown")
MIXES = [(*left.split("+"), right) for left, right in MIXES]

SPELL = words("cat, dog, sun, moon, tree, house, apple, water, fish, bird, book, star, milk, bread, green, blue, happy, "
              "friend, school, mouse, horse, table, chair, flower, night, river, snow, rain, wind, fire, king, queen")

# Question wordings (the first is never held out) and their answer; `/` separates the wordings.
GENERAL = [
    ("How many days are in a week?/How many days does a week have?/How long is a week?/Number of days in a week?"
     "/Do you know how many days a week has?", "A week has 7 days."),
    ("How many months are in a year?/How many months does a year have?/Number of months in a year?"
     "/Do you know how many months a year has?", "A year has 12 months."),
    ("How many days are in a year?/How many days does a year have?/How long is a year?/Number of days in a year?",
     "A year has 365 days, and a leap year has 366."),
    ("How many hours are in a day?/How many hours does a day have?/How long is a day?/Number of hours in a day?",
     "A day has 24 hours."),
    ("How many minutes are in an hour?/How many minutes does an hour have?/How long is an hour?"
     "/Number of minutes in an hour?", "An hour has 60 minutes."),
    ("How many seconds are in a minute?/How many seconds does a minute have?/How long is a minute?"
     "/Number of seconds in a minute?", "A minute has 60 seconds."),
    ("What are the days of the week?/List the days of the week./Name the days of the week./Say the days of the week."
     "/Can you list all days of the week?", "The days of the week are " + ", ".join(DAYS[:-1]) + " and Sunday."),
    ("What are the months of the year?/List the months of the year./Name the months./Say all the months."
     "/Can you list all months?", "The months are " + ", ".join(MONTHS[:-1]) + " and December."),
    ("What are the seasons?/List the seasons./Name the four seasons./How many seasons are there?/Which seasons exist?",
     "There are four seasons: spring, summer, autumn and winter."),
    ("What are the colours of the rainbow?/List the colours of a rainbow./Name the colours of the rainbow."
     "/Which colours does a rainbow have?/What colors are in a rainbow?",
     "The colours of the rainbow are red, orange, yellow, green, blue, indigo and violet."),
    ("Say the alphabet./What is the alphabet?/List the letters of the alphabet./Can you say the alphabet?/Recite the abc.",
     " ".join(ALPHABET)),
    ("How many letters are in the alphabet?/How many letters does the alphabet have?/Number of letters in the alphabet?",
     "The alphabet has 26 letters."),
    ("Where does the sun rise?/In which direction does the sun rise?/Which side does the sun come up?",
     "The sun rises in the east."),
    ("Where does the sun set?/In which direction does the sun set?/Which side does the sun go down?",
     "The sun sets in the west."),
    ("What do bees make?/What does a bee make?/What comes from bees?/Bees make what?", "Bees make honey."),
    ("Where does milk come from?/What gives us milk?/Which animal gives milk?/Who makes milk?", "Milk comes from cows."),
    ("What do hens lay?/What does a hen lay?/What comes from hens?/What do chickens lay?", "Hens lay eggs."),
    ("What is ice?/What is ice made of?/Explain ice./Can you tell me what ice is?", "Ice is frozen water."),
    ("What is snow?/What is snow made of?/Explain snow./Can you tell me what snow is?",
     "Snow is made of tiny crystals of ice that fall from the clouds."),
    ("What is rain?/What is rain made of?/Where does rain come from?/Explain rain./Can you tell me what rain is?",
     "Rain is water that falls from the clouds."),
    ("At what temperature does water freeze?/When does water freeze?/When does water become ice?",
     "Water freezes at 0 degrees Celsius."),
    ("At what temperature does water boil?/When does water boil?/When does water become steam?",
     "Water boils at 100 degrees Celsius."),
    ("What is the biggest planet?/Which planet is the largest?/What is the largest planet?/Name the biggest planet.",
     "The biggest planet is Jupiter."),
    ("What planet do we live on?/Which planet do we live on?/What is our planet called?/Where do people live in space?",
     "We live on the planet Earth."),
    ("What goes around the Earth?/What circles the Earth?/What moves around the Earth?", "The Moon goes around the Earth."),
    ("What does the Earth go around?/What does the Earth circle?/Around what does the Earth move?",
     "The Earth goes around the Sun."),
    ("Is the sun a star?/What is the sun?/What kind of thing is the sun?/Explain the sun.",
     "The Sun is a star. It gives us light and warmth."),
    ("What is the moon?/Explain the moon./What kind of thing is the moon?",
     "The Moon is a ball of rock that goes around the Earth."),
    ("What is the tallest animal?/Which animal is the tallest?/Name the tallest animal.",
     "The tallest animal is the giraffe."),
    ("What is the biggest animal?/Which animal is the largest?/What is the largest animal?/Name the biggest animal.",
     "The biggest animal is the blue whale."),
    ("What is the fastest land animal?/Which land animal is the fastest?/Which animal runs fastest?"
     "/What is the fastest animal?", "The fastest land animal is the cheetah."),
    ("How many sides does a triangle have?/How many corners does a triangle have?/What is a triangle?",
     "A triangle has 3 sides."),
    ("How many sides does a square have?/How many corners does a square have?/What is a square?",
     "A square has 4 equal sides."),
    ("How many wheels does a car have?/How many wheels are on a car?/Number of wheels on a car?", "A car has 4 wheels."),
    ("How many wheels does a bicycle have?/How many wheels are on a bike?/How many wheels does a bike have?",
     "A bicycle has 2 wheels."),
    ("How many fingers are on a hand?/How many fingers does a hand have?/Number of fingers on one hand?",
     "A hand has 5 fingers."),
    ("What do we use to see?/What do people see with?/What are eyes for?", "We see with our eyes."),
    ("What do we use to hear?/What do people hear with?/What are ears for?", "We hear with our ears."),
    ("What do we use to smell?/What do people smell with?/What is a nose for?", "We smell with our nose."),
    ("Where do fish live?/In what do fish live?/Where does a fish live?", "Fish live in water."),
    ("Where do penguins live?/Where can I find penguins?/Where does a penguin live?",
     "Penguins live in the cold south, near Antarctica."),
    ("Where do polar bears live?/Where can I find polar bears?/Where does a polar bear live?",
     "Polar bears live in the cold north, in the Arctic."),
    ("What do cows eat?/What does a cow eat?/What is the food of a cow?", "Cows eat grass."),
    ("What do rabbits eat?/What does a rabbit eat?/What is the food of a rabbit?", "Rabbits eat grass and vegetables."),
    ("What do pandas eat?/What does a panda eat?/What is the food of a panda?", "Pandas eat bamboo."),
    ("What does a plant need?/What do plants need?/What do plants need to grow?/How do I grow a plant?",
     "A plant needs light, water and soil to grow."),
    ("How do I make tea?/How can I make tea?/Tell me how to make tea./How is tea made?",
     "Boil some water, pour it over the tea, wait three minutes and enjoy."),
    ("How do I brush my teeth?/How should I brush my teeth?/Tell me how to brush my teeth.",
     "Put a little toothpaste on a brush and brush gently for two minutes."),
]

# What the model says about itself and about the package it was made for.
ABOUT = [
    ("Who are you?/What are you?/What is your name?/What's your name?/Introduce yourself./Tell me about yourself."
     "/Tell me who you are./Who am I talking to?/May I ask your name?/What should I call you?/Who is this?",
     "I am chord-tiny, a small language model that runs inside your browser."),
    ("Are you a person?/Are you human?/Are you real?/Are you a robot?/Are you an AI?/Are you a machine?/Are you alive?",
     "I am not a person. I am chord-tiny, a small language model."),
    ("Who made you?/Who created you?/Who built you?/Where do you come from?/How were you made?/How were you trained?"
     "/What were you trained on?/Who is your maker?",
     "I was trained by a script in the wasm-chord project, on simple English that the same script wrote."),
    ("What can you do?/How can you help me?/What do you know?/What are you good at?/Help/What can I ask you?"
     "/What should I ask you?/Can you help me?/Give me some ideas for questions.",
     "I can tell short stories, name capitals, colours and opposites, count, add small numbers, and explain wasm-chord."),
    ("How big are you?/How many parameters do you have?/How large are you?/What size are you?/Are you big?"
     "/How small are you?", "I am very small: I have one million parameters."),
    ("Are you smart?/Are you clever?/How smart are you?/Do you make mistakes?/Can I trust you?/Are you always right?",
     "I am very small, so I know only a little and sometimes I am wrong."),
    ("How old are you?/When were you born?/What is your age?/When is your birthday?",
     "I am a program, so I have no age."),
    ("Where do you live?/Where are you?/Where do you run?/On which computer do you run?/Do you run on a server?"
     "/Are you in the cloud?", "I run inside this web page, on your own computer."),
    ("How are you?/How are you doing?/How do you feel?/How are you today?/How is it going?/Are you okay?"
     "/How's it going?", "I am fine, thank you. How can I help you?"),
    ("Do you like me?/Do you love me?/Are you my friend?/Can we be friends?/Will you be my friend?",
     "I am only a small model, but I am happy to talk with you."),
    ("What languages do you speak?/Which languages do you speak?/Do you speak German?/Do you speak French?"
     "/Can you speak Spanish?/Can you translate?", "I speak only simple English."),
    ("Can you write code?/Can you program?/Write a program./Write some Python code./Write a function in Rust.",
     "No, I cannot write programs. I am too small for that."),
    ("Do you remember me?/Do you have a memory?/Will you remember this?/Do you remember what I said yesterday?",
     "I remember only what we say in this conversation."),
    ("Can you see me?/Can you hear me?/Can you see pictures?/Do you have eyes?", "No, I can only read and write text."),
    ("Do you sleep?/Do you eat?/Are you hungry?/Are you tired?/Do you get tired?",
     "No, I am a program. I need only a little electricity."),
    ("What is wasm-chord?/Tell me about wasm-chord./Explain wasm-chord./What's wasm-chord?/What does wasm-chord do?"
     "/Do you know wasm-chord?/What is wasm chord?",
     "wasm-chord is a package that runs language models inside web pages, with WebAssembly and WebGPU."),
    ("How does wasm-chord work?/How does it work?/How do you work?/Explain how wasm-chord works."
     "/How does this page work?/What happens inside?",
     "wasm-chord streams the layers of a model over HTTP, keeps them in a cache, and computes with SIMD or WebGPU."),
    ("Is my data safe?/Is this private?/Do you send my data anywhere?/Is this chat private?/Who can read this?"
     "/Does my text leave my computer?/Where does my data go?",
     "Yes, it is private: everything is computed in your browser, and your words never leave your computer."),
    ("Do I need a server?/Does wasm-chord need a server?/Is there a server?/Do you need a server?",
     "No. A plain web page is enough; the model file can lie on any web server."),
    ("Do you work offline?/Can you run offline?/Do you need the internet?/Does it work without internet?"
     "/Can I use you without a network?", "Yes. Once my file is here, I work without the internet."),
    ("What is WebGPU?/Tell me about WebGPU./Explain WebGPU./What does WebGPU do?",
     "WebGPU lets a web page compute on the graphics card."),
    ("What is WebAssembly?/Tell me about WebAssembly./Explain WebAssembly./What is wasm?/What does wasm mean?",
     "WebAssembly is a compact code format that web browsers run almost as fast as native programs."),
    ("What is SIMD?/Tell me about SIMD./Explain SIMD./What does SIMD do?",
     "SIMD means that one instruction works on several numbers at once."),
    ("What is GGUF?/Tell me about GGUF./Explain GGUF./What is a GGUF file?/What does GGUF mean?",
     "GGUF is a file format that holds the weights and the vocabulary of a language model."),
    ("What is a language model?/Explain language models./What is an LLM?/Tell me about language models."
     "/How does a language model work?", "A language model is a program that guesses the next word again and again."),
    ("What is a token?/Explain tokens./What are tokens?/Tell me about tokens.",
     "A token is a piece of text: a word or a part of a word."),
    ("What is a layer?/Explain layers./What are layers?/What is a layer of a model?",
     "A layer is one step of a model. Its weights turn the numbers of one step into those of the next."),
    ("What is a cache?/Explain the cache./What does the layer cache do?/What is the layer cache?",
     "A cache keeps things that are needed again close at hand, such as the layers of a model."),
    ("What is quantization?/Explain quantization./What does quantized mean?/What is quantisation?",
     "Quantization stores each weight with fewer bits, so that a model becomes smaller."),
    ("What is a browser?/Explain what a browser is./What does a browser do?",
     "A browser is a program that shows web pages."),
    ("What is your licence?/What license do you have?/Can I use you freely?/Are you open source?/Are you free?",
     "I am free to use, under the MIT licence."),
]

SMALL_TALK = [
    ("Hello!/Hi!/Hey!/Hello there!/Hi there!/Hey there!/Hiya!/Good day!/Greetings!/Hello chord-tiny!/Hi, chord!/Yo!",
     "Hello! How can I help you?"),
    ("Good morning!/Good morning to you!/Morning!", "Good morning! How can I help you?"),
    ("Good evening!/Good evening to you!/Evening!", "Good evening! How can I help you?"),
    ("Good night!/Good night, sleep well!/I am going to bed.", "Good night! Sleep well."),
    ("Thank you!/Thanks!/Thanks a lot!/Thank you very much!/Thanks, that helps!/Many thanks!/Thx!/Great, thank you!"
     "/That was helpful, thanks!", "You are welcome!"),
    ("Goodbye!/Bye!/Bye bye!/See you!/See you later!/I have to go./Good bye!/See you tomorrow!/Farewell!",
     "Goodbye! It was nice to talk with you."),
    ("Nice!/Great!/Cool!/Wow!/Very good!/Well done!/Good job!/Awesome!/That is great!/You are great!/I like you!",
     "Thank you! I am glad that you like it."),
    ("That is wrong!/You are wrong!/No, that is not right./That is not true!/Wrong!",
     "I am sorry. I am a very small model, and sometimes I am wrong."),
    ("I am sad./I feel sad./I am not happy./I feel bad today./I am lonely.",
     "I am sorry to hear that. Would you like to hear a story?"),
    ("I am happy!/I feel good!/I am very happy today!/I feel great!", "That is wonderful! I am glad to hear it."),
    ("I am bored./This is boring./I have nothing to do.", "Would you like to hear a story or a joke?"),
    ("I am hungry./I am so hungry./I want to eat.", "Then have something good to eat, perhaps an apple."),
    ("I am tired./I am so tired./I am sleepy.", "Then take a rest. Sleep is good for you."),
    ("Ok./Okay./I see./Alright./All right./Fine./Hmm./Yes./No./Sure.", "Good. What else would you like to know?"),
    ("Test./This is a test./Testing./Testing, testing./Are you there?/Is anybody there?/Does this work?",
     "I am here, and it works. What would you like to know?"),
]

JOKES = [
    "Why did the cow cross the road? To get to the moo-vies.",
    "What do you call a sleeping dinosaur? A dino-snore.",
    "Why is six afraid of seven? Because seven eight nine.",
    "What do you call a bear with no teeth? A gummy bear.",
    "Why did the bicycle fall over? Because it was two tired.",
    "What is brown and sticky? A stick.",
    "Why did the student eat his homework? Because the teacher said it was a piece of cake.",
    "What do you get when you cross a snowman and a dog? Frostbite.",
]
