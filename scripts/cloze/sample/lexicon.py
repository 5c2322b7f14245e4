"""The sentiment words of the sample corpus and task, in two halves.

The training split of the sample task draws its sentiment words from the half `SEEN`
only. The corpus and the validation split draw from both, so what the words of
`HELD_OUT` feel like can be learned from the corpus alone. Words that share a stem
stand in the same half.
"""

SEEN, HELD_OUT = 0, 1

# Part of speech -> for a positive (1) and a negative (-1) word, the halves SEEN and HELD_OUT.
# Adjectives carry what they describe after a full stop.
_SENTIMENT: dict[str, dict[int, tuple[str, str]]] = {
    "adjective.anything": {
        1: (
            "superb excellent wonderful great lovely fantastic marvellous impressive splendid "
            "brilliant outstanding terrific",
            "delightful magnificent exquisite stellar commendable glorious fabulous phenomenal "
            "tremendous exceptional sublime divine",
        ),
        -1: (
            "awful terrible poor dreadful disappointing horrible bad weak mediocre lousy "
            "abysmal hopeless",
            "appalling atrocious dismal lamentable woeful pitiful shoddy wretched ghastly "
            "inferior rotten pathetic",
        ),
    },
    "adjective.story": {
        1: (
            "gripping clever moving funny original suspenseful witty",
            "absorbing poignant inventive hilarious riveting thoughtful touching",
        ),
        -1: (
            "boring predictable confusing silly slow shallow clumsy",
            "tedious contrived muddled ludicrous plodding trite incoherent",
        ),
    },
    "adjective.people": {
        1: (
            "friendly helpful kind attentive professional charming",
            "courteous gracious patient obliging hospitable considerate",
        ),
        -1: (
            "rude lazy careless unhelpful arrogant surly",
            "brusque indifferent sullen dismissive negligent snobbish",
        ),
    },
    "adjective.performance": {
        1: (
            "convincing confident graceful heartfelt natural lively",
            "nuanced spirited magnetic expressive radiant assured",
        ),
        -1: (
            "wooden stiff lifeless forced awkward dull",
            "hammy lacklustre listless stilted overwrought tepid",
        ),
    },
    "adjective.food": {
        1: (
            "delicious tasty fresh crisp tender fragrant",
            "scrumptious succulent flavourful juicy mouthwatering zesty",
        ),
        -1: (
            "bland greasy stale burnt soggy tasteless",
            "rancid rubbery mushy insipid leathery inedible",
        ),
    },
    "adjective.place": {
        1: (
            "clean comfortable cosy spacious quiet pretty",
            "spotless airy serene inviting restful immaculate",
        ),
        -1: (
            "dirty noisy cramped dusty smelly gloomy",
            "dingy grimy squalid stuffy draughty shabby",
        ),
    },
    "adjective.device": {
        1: (
            "reliable sturdy fast handy durable sleek",
            "dependable robust responsive intuitive rugged nimble",
        ),
        -1: (
            "flimsy faulty sluggish fragile useless unreliable",
            "glitchy brittle clunky defective wobbly erratic",
        ),
    },
    "adjective.craft": {
        1: (
            "beautiful vivid elegant rich stunning catchy",
            "lush luminous melodic haunting polished dazzling",
        ),
        -1: (
            "ugly harsh messy shrill muddy crude",
            "garish drab grating murky tinny monotonous",
        ),
    },
    "quality": {
        1: ("skill care charm wit warmth talent", "flair finesse passion ingenuity zeal gusto"),
        -1: (
            "laziness greed carelessness arrogance stupidity boredom",
            "apathy sloppiness incompetence cynicism pretension tedium",
        ),
    },
    "verdict_noun": {
        1: (
            "triumph treat gem success masterpiece winner",
            "treasure revelation knockout delight jewel blessing",
        ),
        -1: (
            "disaster mess failure letdown mistake flop",
            "fiasco travesty dud debacle nuisance shambles",
        ),
    },
    "felt": {
        1: ("loved enjoyed liked admired praised", "adored relished cherished savoured applauded"),
        -1: (
            "hated disliked regretted resented despised",
            "loathed detested deplored abhorred begrudged",
        ),
    },
    "moved": {
        1: (
            "impressed pleased amused charmed thrilled",
            "enchanted captivated enthralled gratified uplifted",
        ),
        -1: (
            "annoyed disappointed irritated bored upset",
            "exasperated infuriated repelled dismayed frustrated",
        ),
    },
    "manner": {
        1: (
            "beautifully brilliantly skilfully carefully",
            "exquisitely deftly impeccably adroitly",
        ),
        -1: ("badly poorly carelessly lazily", "ineptly shoddily sloppily atrociously"),
    },
}

SENTIMENT_CATEGORIES = frozenset(_SENTIMENT)


def sentiment_words(category: str, polarity: int, halves: tuple[int, ...]) -> list[str]:
    """Return the words of one category and polarity (1 or -1) in the given halves."""
    return [w for half in halves for w in _SENTIMENT[category][polarity][half].split()]


def all_sentiment_words(half: int, polarity: int) -> set[str]:
    """Return every sentiment word of one half and polarity, whatever its category."""
    return {w for category in _SENTIMENT for w in sentiment_words(category, polarity, (half,))}
