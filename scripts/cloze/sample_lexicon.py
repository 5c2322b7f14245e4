"""The words of the sample corpus and task: sentiment words in two halves, and neutral words.

The training split of the sample task draws its sentiment words from the half `SEEN`
only. The corpus and the validation split draw from both, so what the words of
`HELD_OUT` feel like can be learned from the corpus alone. Words that share a stem
stand in the same half.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Noun:
    """A part of a reviewed thing: what kind of adjective suits it and how verbs agree."""

    text: str
    kind: str
    plural: bool = False
    mass: bool = False


@dataclass(frozen=True)
class Domain:
    """Something that people review: its names, its parts by kind, and who made it."""

    name: str
    items: tuple[str, ...]
    item_kind: str
    parts: tuple[Noun, ...]
    moments: tuple[str, ...]
    makers: tuple[str, ...]


def words(text: str) -> tuple[str, ...]:
    """Split a comma-separated list, folding the white space of its line breaks."""
    return tuple(" ".join(part.split()) for part in text.split(","))


def _parts(**kinds: str) -> tuple[Noun, ...]:
    """Read nouns by kind; `*` before a noun marks a plural, `~` one that takes no article."""
    return tuple(
        Noun(text.lstrip("*~"), kind, plural=text[0] == "*", mass=text[0] == "~")
        for kind, text_list in kinds.items()
        for text in words(text_list)
    )


DOMAINS = (
    Domain(
        "film",
        words("film, movie, thriller, comedy, drama, documentary, sequel, remake, western"),
        "story",
        _parts(
            story="plot, story, script, ~dialogue, ending, opening, second half, final twist, "
            "premise, *jokes, *subplots, romance",
            performance="~acting, *performances, lead performance, supporting cast, *love scenes, "
            "voice work",
            craft="~music, score, ~photography, ~lighting, *costumes, *sets, camera work, "
            "soundtrack, *special effects, colour palette",
        ),
        words("scene, moment, minute, line, shot"),
        words("the director, the studio, the writers, the crew, the producers"),
    ),
    Domain(
        "book",
        words("novel, book, memoir, mystery, biography, anthology, trilogy, diary"),
        "story",
        _parts(
            story="plot, story, narrative, ~dialogue, ending, prologue, *chapters, *characters, "
            "mystery, *footnotes, ~humour, heroine, argument",
            craft="~prose, *descriptions, *illustrations, *metaphors, cover, ~imagery, "
            "*photographs",
        ),
        words("page, chapter, paragraph, sentence, line"),
        words("the author, the editor, the publisher, the translator, the illustrator"),
    ),
    Domain(
        "restaurant",
        words("restaurant, bistro, diner, tavern, pizzeria, brasserie, teahouse, canteen"),
        "place",
        _parts(
            food="soup, ~bread, dessert, sauce, curry, pasta, steak, salad, *pastries, *noodles, "
            "~rice, fish, *dumplings, roast chicken, *vegetables, pie",
            people="~staff, waiter, waitress, chef, *waiters, hostess, barman",
            place="dining room, terrace, *tables, back room, courtyard, kitchen, *booths",
        ),
        words("dish, bite, plate, course, mouthful"),
        words("the chef, the owners, the kitchen, the cooks, the waiters"),
    ),
    Domain(
        "hotel",
        words("hotel, inn, guesthouse, hostel, resort, lodge, motel, cottage"),
        "place",
        _parts(
            place="room, lobby, bathroom, *bedrooms, lounge, corridor, garden, *stairs, balcony, "
            "sauna, *towels, lift, breakfast room",
            people="~staff, receptionist, concierge, porter, *cleaners, landlady, night manager",
            food="breakfast, *eggs, porridge, ~toast, *pancakes, ~fruit, buffet, omelette",
        ),
        words("corner, hour, detail, night, morning"),
        words("the owners, the staff, the managers, the housekeepers, the family"),
    ),
    Domain(
        "gadget",
        words(
            "kettle, camera, phone, tablet, watch, laptop, blender, radio, printer, vacuum cleaner"
        ),
        "device",
        _parts(
            device="battery, screen, keyboard, *buttons, handle, ~software, charger, hinge, strap, "
            "motor, cable, *controls, stand, lid, switch, menu system",
            craft="design, finish, display, sound, *colours, packaging",
            people="support team, seller, *technicians, courier, help desk",
        ),
        words("feature, detail, part, screw, setting"),
        words("the engineers, the makers, the designers, the factory, the company"),
    ),
    Domain(
        "music",
        words("album, record, concert, recording, debut, set, live show, song cycle"),
        "craft",
        _parts(
            craft="mix, *drums, *melodies, bass line, *arrangements, piano part, *strings, chorus, "
            "brass section, *harmonies, sound, production",
            performance="~singing, *vocals, *duets, *solos, lead singer, choir, band",
            story="*lyrics, opening song, title track, encore, second side, ballad",
        ),
        words("song, verse, note, bar, track"),
        words("the band, the singer, the producer, the label, the drummer"),
    ),
    Domain(
        "theatre",
        words("play, musical, opera, revival, production, pantomime, ballet, staging"),
        "story",
        _parts(
            performance="~acting, cast, leading lady, chorus, *dancers, *duets, understudy, "
            "swordplay, *monologues",
            story="plot, script, first act, second act, ending, *jokes, ~dialogue, adaptation",
            craft="set, *costumes, ~lighting, orchestra, overture, *masks, choreography, *wigs",
            people="*ushers, box office, *stewards, cloakroom attendant",
        ),
        words("scene, moment, act, line, gesture"),
        words("the director, the company, the designers, the playwright, the conductor"),
    ),
)

# How a part was made, for `{adverb} {participle}`.
PARTICIPLES: dict[str, tuple[str, ...]] = {
    "story": words("written, handled, put together, worked out"),
    "people": words("trained, dressed, chosen, organised"),
    "performance": words("cast, rehearsed, directed, judged"),
    "food": words("cooked, seasoned, prepared, presented"),
    "place": words("furnished, decorated, kept, laid out"),
    "device": words("built, designed, made, put together"),
    "craft": words("done, designed, produced, put together"),
}

# Verb -> past singular and plural, present singular and plural.
VERBS: dict[str, tuple[str, str, str, str]] = {
    "was": ("was", "were", "is", "are"),
    "had": ("had", "had", "has", "have"),
    "seemed": ("seemed", "seemed", "seems", "seem"),
    "turned": ("turned", "turned", "turns", "turn"),
    "struck": ("struck", "struck", "strikes", "strike"),
    "remained": ("remained", "remained", "remains", "remain"),
    "proved": ("proved", "proved", "proves", "prove"),
}
