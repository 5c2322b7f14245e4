"""What the sample reviews are about: domains, their nouns and verbs, and neutral words."""

from dataclasses import dataclass


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
            "motor, cable, *controls, stand, lid, switch, menu system, dial, remote control",
            craft="design, finish, display, sound, *colours",
            people="support team, seller, *technicians, help desk",
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

WORDS: dict[str, tuple[str, ...]] = {
    "very": words("very, really, truly, thoroughly, remarkably, deeply, quite, rather"),
    "slightly": words("slightly, a little, somewhat, a bit, mildly, a touch"),
    "utterly": words("utterly, absolutely, completely, extremely, totally, incredibly"),
    "stars_good": words("Four, Five, Four and a half"),
    "stars_bad": words("One star, Two stars, Half a star"),
    "anyone": words("anyone, a friend, {my} neighbours, families, people like {me}, students"),
    "relation": words(
        "{my} sister, {my} brother, {my} mother, {my} father, {my} aunt, {my} uncle, "
        "{my} cousin, {my} neighbour, {my} boss, {my} daughter, {my} son, {my} grandmother, "
        "a friend, an old friend, a colleague, a man from work, a woman from {city}"
    ),
    "day": words(
        "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, New Year's Eve, "
        "a public holiday"
    ),
    "month": words(
        "January, February, March, April, May, June, July, August, September, October, "
        "November, December"
    ),
    "year": words("1968, 1974, 1983, 1987, 1991, 1996, 1999, 2003, 2008, 2012, 2016, 2019, 2021"),
    "decade": words("twenties, thirties, forties, fifties, sixties, seventies, eighties, nineties"),
    "number": words("two, three, four, five, six, seven, eight, nine, ten, eleven, twelve"),
    "ordinal": words("first, second, third, fourth, fifth, sixth"),
    "landmark": words(
        "harbour, cathedral, old bridge, railway station, market hall, museum, town hall, park, "
        "canal, lighthouse, football ground, university, mill, abbey, castle, ferry pier"
    ),
    "event": words("wedding, conference, funeral, race, job interview, trade fair, birthday"),
    "event_past": words(
        "the lights went down, we paid, the rain stopped, the others arrived, {name} left, "
        "lunch, the interval, we sat down, the second bottle, it got dark, the last bus"
    ),
    "dish": words(
        "tomato soup, roast lamb, fried fish, mushroom pie, lentil stew, goat cheese, plum cake, "
        "grilled peppers, apple tart, rice pudding, onion rings, smoked trout, lemon sorbet, "
        "stuffed cabbage, duck with cherries, beetroot salad, garlic bread, chocolate mousse, "
        "pumpkin ravioli, scrambled eggs, potato dumplings, walnut ice cream"
    ),
    "job": words(
        "baker, judge, sailor, widow, teacher, burglar, surgeon, farmer, pianist, nurse, spy, "
        "librarian, detective, tailor, boxer, priest, gardener, pilot, chemist, photographer, "
        "clockmaker, soldier, taxi driver, botanist, carpenter, senator, dentist, miner"
    ),
    "plot": words(
        "inherits a lighthouse, loses a bet, looks for a missing brother, returns after the war, "
        "falls in love with a neighbour, finds a box of letters, hides a stolen painting, "
        "learns to swim, forgets a name, opens a shop, crosses the desert with a camel, "
        "writes to a stranger, steals a boat, moves back to the village, runs for mayor, "
        "builds a telescope, takes the wrong train, meets a ghost, sells the family house, "
        "pretends to be someone else, adopts a wolf, leads a strike, plans a robbery, "
        "discovers an island, joins a circus, buries a secret, wins a lottery, guards a tomb"
    ),
    "city": words(
        "Lisbon, Leeds, Ghent, Oslo, Turin, Bristol, Galway, Porto, Bergen, Lyon, Bath, "
        "Seville, Dresden, Zagreb, Cork, Utrecht, Basel, Malmö, Trieste, York, Antwerp, Tartu, "
        "Kraków, Brno, Cardiff, Córdoba, Halifax, Montréal, Boston, Perth, Wellington"
    ),
    "first_name": words(
        "Anna, Ben, Carla, David, Elena, Felix, Greta, Hugo, Ines, Jonas, Klara, Luis, Maria, "
        "Nora, Oscar, Paula, Rafael, Sofia, Tom, Ursula, Victor, Wanda, Yusuf, Zoë, Amir, Bea, "
        "Chen, Dora, Emil, Fatima, Gus, Hanna, Ivo, Jana, Kofi, Lena, Milo, Nadia, Otto, Priya"
    ),
    "last_name": words(
        "Abbott, Baker, Castell, Dunne, Ekström, Farrow, Gruber, Hale, Ibarra, Jensen, Keller, "
        "Lindqvist, Moreau, Novak, Okafor, Petrov, Quinn, Rossi, Santos, Tanaka, Unwin, Vance, "
        "Whitlock, Yilmaz, Zeman, Adeyemi, Brandt, Costa, Delgado, Fischer, Grant, Holm"
    ),
}
