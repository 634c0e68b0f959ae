"""A small English grammar for the miniature LibriSpeech: about 800 words in categories, and sentences of three to six words.

Labelled sentences use the most frequent words of each category, unlabelled speech uses all. Word frequencies fall as in real
text. Every fifth word of a category is not used in training, so that test sentences contain unseen words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

OPEN: Mapping[str, str] = {
    "adjective": """old little good young white long small great dark cold happy green strange quiet black heavy red deep warm tall
        wooden simple empty brave gentle narrow broken golden bright silent clever wild blue hungry lonely ancient soft famous
        angry yellow thick careful secret sweet silver noble tired sharp pale lucky honest foreign gray polite rough smooth
        sudden distant lazy proud nervous modern bitter curious frozen royal stubborn humble dusty crooked faithful purple""",
    "person": """man woman boy girl king doctor captain teacher farmer soldier sister brother mother father lady baker child friend
        stranger hunter sailor judge driver painter writer neighbor servant master uncle prince lawyer student daughter cousin
        singer dancer guard merchant nurse poet priest queen robber shepherd tailor visitor widow worker pilot butler giant
        waiter minister barber engineer musician gardener traveler butcher colonel prisoner orphan hero knight""",
    "animal": """dog horse cat bird fish lion bear wolf sheep goat mouse rabbit fox monkey snake tiger eagle chicken spider
        donkey turtle camel pigeon elephant beaver parrot lizard salmon zebra""",
    "thing": """house letter book river door boat window garden picture road table stone mountain paper box hat bread coat bottle
        bridge candle tower knife ship wagon castle clock basket money kettle mirror ladder pocket village lamp ring apple
        button chair ribbon sword blanket butter carriage cheese church coffee curtain diamond dinner engine fence flower forest
        hammer island jacket jewel key lemon map medal mill needle orange oven parcel pencil piano pillow potato rope saddle
        shovel signal soup spoon statue sugar supper tent ticket towel treasure trumpet umbrella valley violin wallet wheel
        whistle wine anchor balloon barrel bucket cabin cannon carpet chimney compass cradle feather fountain glove hedge
        helmet honey kitchen lantern leather market meadow notebook onion palace pepper pigment planet ruby scissors shelter
        temple thunder tunnel velvet wardrobe whip""",
    "did": """found saw took carried opened followed watched forgot sold painted wanted loved lost heard broke hid bought
        remembered closed dropped cleaned touched borrowed burned built caught chased counted covered described drew drove
        finished fixed gathered guarded hated helped imagined kept kicked lifted measured mended missed noticed offered
        ordered planted pulled pushed reached received repaired respected searched served showed stole studied threw
        trusted visited washed admired avoided collected delivered discovered examined ignored invented locked marked
        polished protected punished released rescued returned shared shook sketched spared tasted""",
    "acted": """came went laughed waited slept walked ran cried smiled sang danced fell listened worked spoke jumped stood
        returned talked wandered whispered answered arrived climbed coughed disappeared dreamed escaped hurried knelt
        landed nodded prayed rested sailed shouted sighed stumbled swam trembled vanished yawned bowed paused""",
    "place": """house river village garden forest city kitchen station church market mountain bridge valley harbor theater castle
        street tower island school library meadow stable cellar desert palace prison temple tavern hospital museum orchard
        cabin canyon chapel factory fountain hotel lake office park swamp tunnel university""",
    "manner": """slowly quickly again quietly together gladly suddenly carefully often sadly gently early alone bravely
        calmly eagerly easily finally honestly loudly nearly politely proudly rarely secretly seldom softly twice
        wisely kindly""",
    "time": """today yesterday tonight monday sunday friday tuesday morning evening winter summer autumn spring midnight noon
        thursday saturday wednesday christmas april august december january october""",
    "name": """john mary peter anna thomas emma george alice henry sarah david laura robert helen martin julia arthur rosa
        daniel clara edward lucy frank martha oliver sophie samuel nancy victor ruth walter irene albert judith simon
        harold esther oscar wendy philip vivian""",
}
CLOSED: Mapping[str, str] = {
    "the": "the the the the one my his her our this that their your every another",
    "near": "in by near behind under to from at through beside across toward",
    "will": "will must can could should might would",
    "do": "see find take carry open follow watch sell paint want love lose hear break hide buy",
    "on": "on before after until every last next",
    "and": "and or",
    "who": "we they you i he she nobody somebody everyone",
}
TEMPLATES = (
    "the person did the thing", "the adjective person did the thing", "name did the adjective thing", "who did the thing",
    "the person acted near the place", "name acted manner", "the animal acted near the place", "who will do the thing",
    "name and name acted", "the adjective animal acted manner", "who acted on time", "the person will do the animal",
    "who did the animal manner", "name will do the adjective thing", "the thing and the thing", "who will do name on time",
)  # fmt: skip
ORDERS = """turn on the lights in the kitchen|switch off the lamp|play some music|increase the volume|decrease the heat in the bedroom|
    bring me the newspaper|fetch my shoes|set an alarm for seven|make it louder|turn the heat up in the washroom|stop the music|
    add this song to my playlist|book a table for four|what is the weather in boston|change the language|activate the music|
    get me some juice|deactivate the lights|rate this book five stars|show the movie times|lower the temperature please|
    find a restaurant near here|search for the saga|put the lights on""".replace("\n", "").split("|")  # fmt: skip
SINGLE = "yes no up down left right on off stop go zero one two three four five six seven eight nine bed bird cat dog happy house marvin sheila tree wow"  # fmt: skip
COMMON = 24
"""Number of words of an open category in labelled sentences; unlabelled speech uses all words."""

HELD_OUT = 5
"""Every fifth word of an open category is not used in training."""


def sentence(random: np.random.Generator, unseen: float = 0.0, words: int | None = COMMON) -> str:
    """Draws a sentence of three to six words; an open place gets a word unseen in training with probability `unseen`.

    Open categories use their first `words` words (None: all of them).

    >>> sentence(np.random.default_rng(1)).count(" ") in range(2, 6)
    True
    """
    return " ".join(_word(symbol, random, unseen, words) for symbol in str(random.choice(TEMPLATES)).split())


def _word(symbol: str, random: np.random.Generator, unseen: float, count: int | None) -> str:
    if symbol in CLOSED:
        return str(random.choice(CLOSED[symbol].split()))
    words = OPEN[symbol].split()[:count]
    rare = [word for i, word in enumerate(words) if kept_from_training(i)]
    if random.random() < unseen:
        return str(random.choice(rare))
    return _frequent([word for word in words if word not in rare], random)


def kept_from_training(rank: int) -> bool:
    """Returns whether the word with this rank in its category is unseen in training."""
    return rank % HELD_OUT == HELD_OUT - 1


def _frequent(words: Sequence[str], random: np.random.Generator) -> str:
    """Draws a word by a flattened Zipf law over the order in the list."""
    weights = 1.0 / (np.arange(len(words)) + 1.0)
    return str(random.choice(words, p=weights / weights.sum()))


def anything(random: np.random.Generator) -> str:
    """Draws the text of an unlabelled utterance: a sentence, an order to a machine, or a list of single words."""
    draw = random.random()
    if draw < 0.3:
        return sentence(random, 0.2, None)
    if draw < 0.55:
        return f"{sentence(random, 0.2, None)} and {sentence(random, 0.2, None)}"
    if draw < 0.8:
        return str(random.choice(ORDERS)).strip()
    return " ".join(str(word) for word in random.choice(SINGLE.split(), int(random.integers(4, 8))))
