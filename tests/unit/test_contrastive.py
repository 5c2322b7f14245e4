"""What batches of vectors cost."""

import torch
import torch.nn.functional as F  # noqa: N812

from cloze.objectives.contrastive import (
    cosent_loss,
    false_negatives,
    multiple_negatives_ranking_loss,
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_ranking_is_the_cross_entropy_of_cosines_over_the_temperature():
    anchors, candidates = draw(3, 8), draw(5, 8, seed=1)
    nothing = torch.zeros(3, 5, dtype=torch.bool)
    found = multiple_negatives_ranking_loss(anchors, candidates, nothing, 0.05)
    terms = []
    for number, anchor in enumerate(anchors):
        cosines = torch.stack([F.cosine_similarity(anchor, other, dim=0) for other in candidates])
        terms.append(torch.logsumexp(cosines / 0.05, 0) - cosines[number] / 0.05)
    torch.testing.assert_close(found, torch.stack(terms).mean())


def test_what_answers_an_anchor_too_is_no_negative_of_it():
    anchors, candidates = draw(2, 8), draw(3, 8, seed=1)
    # The hard negative reads as the positive of the first anchor.
    is_false = false_negatives(torch.tensor([0, 1]), torch.tensor([5, 6, 5]))
    assert is_false.tolist() == [[False, False, True], [False, False, False]]
    without = multiple_negatives_ranking_loss(
        anchors[:1], candidates[:2], torch.zeros(1, 2, dtype=torch.bool), 0.1
    )
    both = multiple_negatives_ranking_loss(anchors, candidates, is_false, 0.1)
    second = multiple_negatives_ranking_loss(
        anchors[1:], candidates[[1, 0, 2]], torch.zeros(1, 3, dtype=torch.bool), 0.1
    )
    torch.testing.assert_close(both, (without + second) / 2)


def test_positives_of_equal_anchors_are_no_negatives_of_each_other():
    is_false = false_negatives(torch.tensor([3, 3, 4]), torch.tensor([0, 1, 2]))
    assert is_false.tolist() == [[False, True, False], [True, False, False], [False] * 3]


def test_cosent_sums_over_pairs_that_are_ordered_by_score():
    first, second = draw(4, 8), draw(4, 8, seed=1)
    scores = torch.tensor([5.0, 1.0, 1.0, 3.0])
    cosines = F.cosine_similarity(first, second, dim=-1)
    total = torch.tensor(1.0)
    for high in range(4):
        for low in range(4):
            if scores[high] > scores[low]:
                total = total + torch.exp((cosines[low] - cosines[high]) / 0.5)
    torch.testing.assert_close(cosent_loss(first, second, scores, 0.5), total.log())


def test_cosent_knows_no_scale_of_scores_and_nothing_of_equal_ones():
    first, second = draw(4, 8), draw(4, 8, seed=1)
    scores = torch.tensor([0.0, 1.0, 2.0, 3.0])
    one, other = (cosent_loss(first, second, scores * scale, 0.05) for scale in (1, 7))
    torch.testing.assert_close(one, other)
    assert cosent_loss(first, second, torch.ones(4), 0.05) == 0
