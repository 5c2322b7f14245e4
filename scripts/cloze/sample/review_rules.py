"""The grammar of a review: what surrounds opinions, and the company that words keep there.

These rules extend those of `cloze.sample.rules` and replace some of them, in reviews only.
Here a rule may stand for one polarity (`name+` or `name-`): adverbs, openings and verdicts
that go with praise or with blame. The task uses none of them, so nothing but a sentence's
own sentiment words and their syntax decides a label there.
"""

from cloze.sample.rules import Rules, parse_rules

REVIEW_RULES: dict[str, Rules] = {
    # One opinion of a review.
    "remark": parse_rules("""
        10 {opinion+}
        6 {frame} {statement+}.
        4 {frame} {statement+}, and {statement+}.
        3 {reaction}, because {clause+}.
    """),
    "frame+": parse_rules("""
        4 Fortunately,
        4 Luckily,
        4 Thankfully,
        2 It is a joy to report that
        2 The best part is that
        2 Good news:
    """),
    "frame-": parse_rules("""
        4 Unfortunately,
        4 Sadly,
        4 Alas,
        2 It is a pity to report that
        2 The worst part is that
        2 A warning:
    """),
    "reaction+": parse_rules("""
        2 {i} smiled
        2 {i} clapped
        2 {i} cheered
        1 {relation} asked for more
        1 {relation} grinned
    """),
    "reaction-": parse_rules("""
        2 {i} sighed
        2 {i} groaned
        2 {i} frowned
        1 {relation} wanted to leave
        1 {relation} complained
    """),
    # Most clauses hold a word that tells their polarity, next to the one that has it.
    "clause": parse_rules("""
        2 {statement}
        3 {telling_statement}
    """),
    "telling_statement": parse_rules("""
        10 {the} {was} {luck} {adj+}
        5 {the} {luck} {moved+} {me}
        5 {i} {luck} {felt+} {the}
        4 {the} {was} {luck} {manner+} {participle}
        5 {the} {was} a {rare} {verdict_noun+}
        3 {makers} worked with {rare} {quality+}
        3 every {moment} spoke of {rare} {quality+}
    """),
    "said": parse_rules("""
        6 {adj+}
        26 {tone} {adj+}
        4 {very} {adj+}
        14 {adj+} and {adj+}
        3 both {adj+} and {adj+}
        3 {adj+}, {adj+} and {adj+}
        1 far from {adj-}
        1 anything but {adj-}
        1 {adj+} rather than {adj-}
    """),
    "luck+": parse_rules("""
        1 happily
        1 thankfully
    """),
    "luck-": parse_rules("""
        1 sadly
        1 unfortunately
    """),
    "rare+": parse_rules("""
        1 rare
        1 genuine
    """),
    "rare-": parse_rules("""
        1 shameful
        1 sorry
    """),
    "tone+": parse_rules("""
        1 pleasantly
        1 refreshingly
        1 satisfyingly
    """),
    "tone-": parse_rules("""
        1 painfully
        1 needlessly
        1 unbearably
    """),
    # The last sentence of a review.
    "closing+": parse_rules("""
        2 {i} would recommend it to {anyone}.
        2 {i} will certainly come back for more.
        2 It {was_item} worth every penny.
        2 {stars_good} stars out of five.
        1 Go and see for yourself, and bring {relation}.
        1 {i} have already told {relation} about it.
    """),
    "closing-": parse_rules("""
        2 {i} cannot recommend it to {anyone}.
        2 {i} will certainly not come back.
        2 It {was_item} not worth a penny.
        2 {stars_bad} out of five.
        1 Save your money, and warn {relation}.
        1 {i} have already asked for {my} money back.
    """),
    "summary": parse_rules("""
        3 All in all, {clause+}.
        2 In short, it {was_item} a {adj+} {item}.
        2 To sum up, {clause+}, and {clause+}.
        2 In the end it {was_item} a {verdict_noun+}.
        1 Taken as a whole, this {item} {was_item} {ap+}.
    """),
    "exception": parse_rules("""
        2 One exception: {clause-}.
        1 To be fair, {clause-}.
        1 For the record, {clause-}.
    """),
    "opening.film": parse_rules("""
        2 {i} saw this {item} in {city} on {day}, together with {relation}.
        2 This {item} follows a {job} who {plot} in {city}.
        2 {full_name} plays a {job} who {plot}.
        1 {relation} chose the {item} because {name} is in it.
        1 The {item} is set in {city} in the {decade}, where a {job} {plot}.
    """),
    "opening.book": parse_rules("""
        2 {i} read this {item} on the train to {city}.
        2 {full_name} tells of a {job} who {plot} in {city}.
        2 {relation} gave {me} the {item} in {month}.
        1 In the {number} chapters of this {item}, a {job} {plot}.
        1 {i} bought the {item} in a small shop in {city}, because {name} had mentioned it.
    """),
    "opening.restaurant": parse_rules("""
        2 {i} went to this {item} in {city} with {relation} on {day}.
        2 {name}'s is a {item} near the {landmark} in {city}.
        2 We were {number} people, and we had booked a table for {day}.
        1 {relation} took {me} to this {item} after a long walk through {city}.
        1 On the menu in {month}: {dish}, {dish} and {dish}.
    """),
    "opening.hotel": parse_rules("""
        2 We stayed at this {item} in {city} for {number} nights in {month}.
        2 The {item} stands behind the {landmark}, {number} minutes from the centre of {city}.
        2 {i} booked the {item} because {relation} lives in {city}.
        1 {name} runs this {item} with {relation}.
        1 {i} came to {city} for a {event} and needed a bed until {day}.
    """),
    "opening.gadget": parse_rules("""
        2 {i} bought this {item} in {month} to replace an older one.
        2 {relation} ordered the {item} from a shop in {city}.
        2 This is the {ordinal} {item} {i} have owned since {year}.
        1 The {item} arrived on {day}, packed with a cable and a booklet in {number} languages.
        1 {i} have used the {item} every day for {number} months.
    """),
    "opening.music": parse_rules("""
        2 {full_name} recorded this {item} in {city} in {year}.
        2 {i} heard the {item} with {relation} on {day}.
        2 This is the {ordinal} {item} by {full_name}, and it has {number} songs.
        1 {relation} played {me} this {item} on the way to {city}.
        1 The {item} is about a {job} who {plot}.
    """),
    "opening.theatre": parse_rules("""
        2 {i} saw this {item} in {city} on {day} with {relation}.
        2 The {item} is about a {job} who {plot}.
        2 {full_name} plays the {job}, and {full_name} is the ghost.
        1 {number} years after the first night in {city}, the {item} is back near the {landmark}.
        1 {relation} had tickets for {day}, so we drove to {city}.
    """),
    "fact": parse_rules("""
        2 {name} came along, although {relation} had other plans.
        1 It was raining in {city} that {day}.
        1 {relation} asked about {the}, and so did {name}.
        1 The price has gone up since {year}.
        1 {name} once told {me} about a {job} who {plot}.
        1 {i} wrote this on {day}, before {event_past}.
    """),
    "fact.film": parse_rules("""
        3 Later the {job} {plot}, and {name} {plot} too.
        2 It runs for {number} hours, and half of it was shot in {city}.
        1 {full_name} wrote it in {year}.
    """),
    "fact.book": parse_rules("""
        3 Then the {job} {plot}, while {name} {plot}.
        2 It has {number} hundred pages and came out in {year}.
        1 The translation is by {full_name}.
    """),
    "fact.restaurant": parse_rules("""
        3 {i} ordered {dish}, and {relation} had {dish}.
        2 After {dish} we shared {dish}.
        1 The bill for {number} people came on a wooden tray.
    """),
    "fact.hotel": parse_rules("""
        3 Our window looked out on the {landmark}.
        2 In the morning {name} brought {dish}, and tea was served until {number}.
        1 The key hung on a board beside {number} others.
    """),
    "fact.gadget": parse_rules("""
        3 It weighs {number} hundred grams and comes in {number} colours.
        2 {i} mostly use it at home in {city}, and {relation} takes it to work.
        1 The guarantee runs until {month}.
    """),
    "fact.music": parse_rules("""
        3 In the {ordinal} song a {job} {plot}.
        2 {full_name} plays the piano, and {name} wrote the words.
        1 It lasts for {number} minutes and was taped near the {landmark}.
    """),
    "fact.theatre": parse_rules("""
        3 In the {ordinal} scene the {job} {plot}.
        2 {full_name} wrote it in {year} for a hall in {city}.
        1 There was an interval after {number} minutes.
    """),
}
