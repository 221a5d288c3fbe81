"""Exposures are ordered, and the widest grant decides."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from schemas.exposure import ORDER, Exposure, widest

SOME: st.SearchStrategy[list[Exposure]] = st.lists(st.sampled_from(ORDER), max_size=6)


@given(SOME, SOME)
def test_widest_of_parts_is_widest_of_all(left: list[Exposure], right: list[Exposure]) -> None:
    """Grouping and order of the grants do not matter."""
    assert widest(widest(*left), widest(*right)) == widest(*left, *right) == widest(*right, *left)


def test_public_beats_all_and_nothing_is_private() -> None:
    """One public link makes a thing public; a thing nobody was given is private."""
    assert widest() == "private"
    for order in permutations(ORDER):
        assert widest(*order) == "public"
