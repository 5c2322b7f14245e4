"""The grammar of an opinion: weighted rules over signed symbols, in text.

A rule stands on a line, its weight first. `{x}` is expanded by the rules of `x`, by the
words of `x`, or by `cloze.sample.grammar` itself. `{x+}` keeps the polarity of the phrase
that it stands in, `{x-}` reverses it: "never {adj-}" is praise or blame exactly as the
sentence is. So one rule serves both labels, and a sentence's form does not give it away.
"""

Rules = tuple[tuple[int, str], ...]


def parse_rules(text: str) -> Rules:
    """Read one `weight template` a line."""
    lines = (line.strip().split(" ", 1) for line in text.strip().splitlines())
    return tuple((int(weight), template) for weight, template in lines)


RULES: dict[str, Rules] = {
    # A whole sentence that expresses one polarity.
    "opinion": parse_rules("""
        14 {clause+}.
        10 {setting}, {clause+}.
        14 {clause+}, and {clause+}.
        8 {setting}, {clause+}, and {clause+}.
        9 {contrast}
        5 {degree}
        6 {item_praise}
        3 {the} {was} so {adj+} that {consequence}.
        3 {occasion}, {i} noticed that {clause+}.
        2 {name} had told {me} that {clause+}, and {relation} agreed.
        2 Because {clause+}, {consequence}.
        2 {clause+}, which {i} had not expected.
        1 Whoever chose {the}, the result {was_item} {ap+}.
    """),
    # Two opposed clauses; the main or the last one decides.
    "contrast": parse_rules("""
        6 {side-}, but {side+}.
        3 Though {side-}, {side+}.
        2 Although {side-}, {side+}.
        2 While {side-}, {side+}.
        4 {side+}, even though {side-}.
        2 Despite {described-}, {side+}.
        1 {name} called it {adj-}, but {i} found it {said+}.
        1 {i} expected something {adj-} and got something {adj+} instead.
    """),
    "side": parse_rules("""
        6 {the} {was} {adj+}
        2 {the} {was} {very} {adj+}
        2 {the} {was} {adj+} and {adj+}
        2 {the} {moved+} {me}
        2 {i} {felt+} {the}
        1 {the} {was} {manner+} {participle}
    """),
    # Two opposed clauses side by side; the stronger one decides, whatever the order.
    "degree": parse_rules("""
        2 {the} {was} {slightly} {adj-}; {the} {was} {utterly} {adj+}.
        2 {the} {was} {utterly} {adj+}; {the} {was} {slightly} {adj-}.
        2 {the} {was} {slightly} {adj-} and {utterly} {adj+}.
        2 {the} {was} {utterly} {adj+} and {slightly} {adj-}.
        1 {the} {was} more {adj+} than {adj-}.
        1 {the} {was} less {adj-} than {adj+}.
    """),
    "item_praise": parse_rules("""
        6 It {was_item} a {adj+}, {adj+} {item}.
        3 What a {adj+} {item}!
        4 A {ap_before+} {item} with {described+}.
        2 There {was_item} not a {adj-} {moment} in it.
        2 There {was_item} hardly a {adj-} {moment}.
        4 This {item} {was_item} a {verdict_noun+}.
        1 This {item} {was_item} no {verdict_noun-}.
        4 It {was_item} a {adj+} {item} and a {verdict_noun+}.
        1 It {was_item} neither a {verdict_noun-} nor a {verdict_noun-}.
    """),
    "clause": parse_rules("1 {statement}"),
    "statement": parse_rules("""
        20 {the} {was} {ap+}
        5 {the} {seemed} {said+}
        3 {the} {struck} {me} as {said+}
        3 {the} {proved} {said+}
        2 {the} {remained} {adj+} to the end
        2 {i} found {the} {said+}
        6 {the} {moved+} {me}
        1 {the} never {moved-} {me}
        6 {i} {felt+} {the}
        1 {i} never {felt-} {the}
        6 {the} {was} {manner+} {participle}
        1 {the} {was} never {manner-} {participle}
        3 {the} {turned} out to be a {verdict_noun+}
        5 {made_with}
    """),
    "the": parse_rules("""
        30 the {part}
        3 the {part} this time
        2 the {part} that {name} had mentioned
        2 the {part} {i} had heard so much about
        1 the {part} {relation} had been waiting for
        1 the {part} that {name} talks about
    """),
    "made_with": parse_rules("""
        3 {makers} worked with {quality+}
        2 {makers} showed {quality+} and {quality+}
        2 every {moment} spoke of {quality+}
        2 {makers} worked without {quality-}
        1 {makers} showed no {quality-} at all
        1 there {was_item} no {quality-} in a single {moment}
    """),
    # An adjective phrase after "was", and after verbs that take no "not".
    "ap": parse_rules("""
        60 {said+}
        5 not {adj-}
        4 never {adj-}
        3 hardly {adj-}
        1 not at all {adj-}
        1 neither {adj-} nor {adj-}
    """),
    "said": parse_rules("""
        16 {adj+}
        12 {very} {adj+}
        14 {adj+} and {adj+}
        3 both {adj+} and {adj+}
        2 {adj+}, {adj+} and {adj+}
        2 far from {adj-}
        2 anything but {adj-}
        1 {adj+} rather than {adj-}
    """),
    "ap_before": parse_rules("""
        4 {adj+}
        4 {very} {adj+}
        4 {adj+} and {adj+}
        1 never {adj-}
        1 far from {adj-}
    """),
    "consequence": parse_rules("""
        2 {relation} spoke of nothing else
        2 {i} wrote to {name} about it
        1 people turned their heads
        1 even {relation} noticed
        1 {i} told {name} on the way home
    """),
    # Who, when and where.
    "name": parse_rules("""
        3 {first_name}
        1 {last_name}
    """),
    "full_name": parse_rules("""
        1 {first_name} {last_name}
    """),
    "setting": parse_rules("""
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
    "occasion": parse_rules("""
        2 After {event_past}
        1 When {name} pointed at it
        1 On {my} {ordinal} visit
        1 While {relation} was talking
    """),
}
