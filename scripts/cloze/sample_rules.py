"""The grammar of the sample reviews: weighted rules over signed symbols, in text.

A rule stands on a line, its weight first. `{x}` is expanded by the rules of `x`, by the
words of `x`, or by `cloze.sample_grammar` itself. `{x+}` keeps the polarity of the phrase
that it stands in, `{x-}` reverses it: "never {adj-}" is praise or blame exactly as the
sentence is. So one rule serves both labels, and a sentence's form does not give it away;
only the rules of reviews that the task never uses are split by polarity.
"""



def _rules(text: str) -> tuple[tuple[int, str], ...]:
    lines = (line.strip().split(" ", 1) for line in text.strip().splitlines())
    return tuple((int(weight), template) for weight, template in lines)


RULES: dict[str, tuple[tuple[int, str], ...]] = {
    # A whole sentence that expresses one polarity.
    "opinion": _rules("""
        16 {clause+}.
        10 {setting}, {clause+}.
        10 {clause+}, and {clause+}.
        4 {setting}, {clause+}, and {clause+}.
        10 {contrast}
        6 {degree}
        6 {item_praise}
        3 {the} {was} so {adj+} that {consequence}.
        3 {occasion}, {i} noticed that {clause+}.
        2 {name} had told {me} that {clause+}, and {relation} agreed.
        2 Because {clause+}, {consequence}.
        2 {clause+}, which {i} had not expected.
        1 Whoever chose {the}, the result {was_item} {ap+}.
    """),
    # Two opposed clauses; the main or the last one decides.
    "contrast": _rules("""
        4 {clause-}, but {clause+}.
        2 Though {clause-}, {clause+}.
        2 Although {clause-}, {clause+}.
        2 While {clause-}, {clause+}.
        2 {clause+}, even though {clause-}.
        2 {clause+}, although {clause-}.
        2 Despite {described-}, {clause+}.
        1 {name} called it {adj-}, but {i} found it {said+}.
        1 {i} expected something {adj-} and got something {adj+} instead.
    """),
    # Two opposed clauses side by side; the stronger one decides, whatever the order.
    "degree": _rules("""
        2 {the} {was} {slightly} {adj-}; {the} {was} {utterly} {adj+}.
        2 {the} {was} {utterly} {adj+}; {the} {was} {slightly} {adj-}.
        2 {the} {was} {slightly} {adj-} and {utterly} {adj+}.
        2 {the} {was} {utterly} {adj+} and {slightly} {adj-}.
        1 {the} {was} more {adj+} than {adj-}.
        1 {the} {was} less {adj-} than {adj+}.
    """),
    "item_praise": _rules("""
        3 It {was_item} a {adj+}, {adj+} {item}.
        2 What a {adj+} {item}!
        2 A {ap_before+} {item} with {described+}.
        3 There {was_item} not a {adj-} {moment} in it.
        2 There {was_item} hardly a {adj-} {moment}.
        3 This {item} {was_item} a {verdict_noun+}.
        2 This {item} {was_item} no {verdict_noun-}.
        2 It {was_item} a {adj+} {item} and a {verdict_noun+}.
        1 It {was_item} neither a {verdict_noun-} nor a {verdict_noun-}.
    """),
    "clause": _rules("""
        20 {the} {was} {ap+}
        5 {the} {seemed} {said+}
        3 {the} {struck} {me} as {said+}
        3 {the} {proved} {said+}
        2 {the} {remained} {adj+} to the end
        2 {i} found {the} {said+}
        6 {the} {moved+} {me}
        2 {the} never {moved-} {me}
        6 {i} {felt+} {the}
        2 {i} never {felt-} {the}
        5 {the} {was} {manner+} {participle}
        2 {the} {was} never {manner-} {participle}
        3 {the} {turned} out to be a {verdict_noun+}
        5 {made_with}
    """),
    "the": _rules("""
        30 the {part}
        3 the {part} in this {item}
        2 the {part} that {name} had mentioned
        2 the {part} {i} had heard so much about
        1 the {part} {relation} had been waiting for
        1 the {part} that {name} talks about
    """),
    "made_with": _rules("""
        3 {makers} worked with {quality+}
        2 {makers} showed {quality+} and {quality+}
        2 every {moment} spoke of {quality+}
        2 {makers} worked without {quality-}
        1 {makers} showed no {quality-} at all
        1 there {was_item} no {quality-} in a single {moment}
    """),
    # An adjective phrase after "was", and after verbs that take no "not".
    "ap": _rules("""
        30 {said+}
        4 not {adj-}
        4 never {adj-}
        3 hardly {adj-}
        2 not at all {adj-}
        1 neither {adj-} nor {adj-}
    """),
    "said": _rules("""
        14 {adj+}
        9 {very} {adj+}
        9 {adj+} and {adj+}
        2 both {adj+} and {adj+}
        2 {adj+}, {adj+} and {adj+}
        3 far from {adj-}
        2 anything but {adj-}
        1 {adj+} rather than {adj-}
    """),
    "ap_before": _rules("""
        3 {adj+}
        3 {very} {adj+}
        2 {adj+} and {adj+}
        1 never {adj-}
        1 far from {adj-}
    """),
    # The last sentence of a review.
    "closing+": _rules("""
        2 {i} would recommend it to {anyone}.
        2 {i} will certainly come back for more.
        2 It {was_item} worth every penny.
        2 {stars_good} stars out of five.
        1 Go and see for yourself, and bring {relation}.
        1 {i} have already told {relation} about it.
    """),
    "closing-": _rules("""
        2 {i} cannot recommend it to {anyone}.
        2 {i} will certainly not come back.
        2 It {was_item} not worth a penny.
        2 {stars_bad} out of five.
        1 Save your money, and warn {relation}.
        1 {i} have already asked for {my} money back.
    """),
    "summary": _rules("""
        3 All in all, {clause+}.
        2 In short, it {was_item} a {adj+} {item}.
        2 To sum up, {clause+}, and {clause+}.
        2 In the end it {was_item} a {verdict_noun+}.
        1 Taken as a whole, this {item} {was_item} {ap+}.
    """),
    "exception": _rules("""
        2 One exception: {clause-}.
        1 To be fair, {clause-}.
        1 For the record, {clause-}.
    """),
    "opening.film": _rules("""
        2 {i} saw this {item} in {city} on {day}, together with {relation}.
        2 This {item} follows a {job} who {plot} in {city}.
        2 {full_name} plays a {job} who {plot}.
        1 {relation} chose the {item} because {name} is in it.
        1 The {item} is set in {city} in the {decade}, where a {job} {plot}.
    """),
    "opening.book": _rules("""
        2 {i} read this {item} on the train to {city}.
        2 {full_name} tells of a {job} who {plot} in {city}.
        2 {relation} gave {me} the {item} in {month}.
        1 In the {number} chapters of this {item}, a {job} {plot}.
        1 {i} bought the {item} in a small shop in {city}, because {name} had mentioned it.
    """),
    "opening.restaurant": _rules("""
        2 {i} went to this {item} in {city} with {relation} on {day}.
        2 {name}'s is a {item} near the {landmark} in {city}.
        2 We were {number} people, and we had booked a table for {day}.
        1 {relation} took {me} to this {item} after a long walk through {city}.
        1 On the menu in {month}: {dish}, {dish} and {dish}.
    """),
    "opening.hotel": _rules("""
        2 We stayed at this {item} in {city} for {number} nights in {month}.
        2 The {item} stands behind the {landmark}, {number} minutes from the centre of {city}.
        2 {i} booked the {item} because {relation} lives in {city}.
        1 {name} runs this {item} with {relation}.
        1 {i} came to {city} for a {event} and needed a bed until {day}.
    """),
    "opening.gadget": _rules("""
        2 {i} bought this {item} in {month} to replace an older one.
        2 {relation} ordered the {item} from a shop in {city}.
        2 This is the {ordinal} {item} {i} have owned since {year}.
        1 The {item} arrived on {day}, packed with a cable and a booklet in {number} languages.
        1 {i} have used the {item} every day for {number} months.
    """),
    "opening.music": _rules("""
        2 {full_name} recorded this {item} in {city} in {year}.
        2 {i} heard the {item} with {relation} on {day}.
        2 This is the {ordinal} {item} by {full_name}, and it has {number} songs.
        1 {relation} played {me} this {item} on the way to {city}.
        1 The {item} is about a {job} who {plot}.
    """),
    "opening.theatre": _rules("""
        2 {i} saw this {item} in {city} on {day} with {relation}.
        2 The {item} is about a {job} who {plot}.
        2 {full_name} plays the {job}, and {full_name} is the ghost.
        1 {number} years after the first night in {city}, the {item} is back near the {landmark}.
        1 {relation} had tickets for {day}, so we drove to {city}.
    """),
    "fact": _rules("""
        2 {name} came along, although {relation} had other plans.
        1 It was raining in {city} that {day}.
        1 {relation} asked about {the}, and so did {name}.
        1 The price has gone up since {year}.
        1 {name} once told {me} about a {job} who {plot}.
        1 {i} wrote this on {day}, before {event_past}.
    """),
    "fact.film": _rules("""
        3 Later the {job} {plot}, and {name} {plot} too.
        2 It runs for {number} hours, and half of it was shot in {city}.
        1 {full_name} wrote it in {year}.
    """),
    "fact.book": _rules("""
        3 Then the {job} {plot}, while {name} {plot}.
        2 It has {number} hundred pages and came out in {year}.
        1 The translation is by {full_name}.
    """),
    "fact.restaurant": _rules("""
        3 {i} ordered {dish}, and {relation} had {dish}.
        2 After {dish} we shared {dish}.
        1 The bill for {number} people came on a wooden tray.
    """),
    "fact.hotel": _rules("""
        3 Our window looked out on the {landmark}.
        2 In the morning {name} brought {dish}, and tea was served until {number}.
        1 The key hung on a board beside {number} others.
    """),
    "fact.gadget": _rules("""
        3 It weighs {number} hundred grams and comes in {number} colours.
        2 {i} mostly use it at home in {city}, and {relation} takes it to work.
        1 The guarantee runs until {month}.
    """),
    "fact.music": _rules("""
        3 In the {ordinal} song a {job} {plot}.
        2 {full_name} plays the piano, and {name} wrote the words.
        1 It lasts for {number} minutes and was taped near the {landmark}.
    """),
    "fact.theatre": _rules("""
        3 In the {ordinal} scene the {job} {plot}.
        2 {full_name} wrote it in {year} for a hall in {city}.
        1 There was an interval after {number} minutes.
    """),
    "consequence": _rules("""
        2 {relation} spoke of nothing else
        2 {i} wrote to {name} about it
        1 people turned their heads
        1 even {relation} noticed
        1 {i} told {name} on the way home
    """),
    # Who, when and where.
    "name": _rules("""
        3 {first_name}
        1 {last_name}
    """),
    "full_name": _rules("""
        1 {first_name} {last_name}
    """),
    "setting": _rules("""
        2 On {day}
        2 To {my} surprise
        1 As {name} put it
        1 From the first {moment} to the last
        1 When we arrived from {city}
        1 If you ask {relation}
        1 As far as {i} can tell
        1 Before {event_past}
        1 Because {name} had asked
        1 According to {relation}
    """),
    "occasion": _rules("""
        2 After {event_past}
        1 When {name} pointed at it
        1 On {my} {ordinal} visit
        1 While {relation} was talking
    """),
}
