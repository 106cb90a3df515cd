"""Suggestions for unknown names."""

from recbole_unirep.settings.nearest import near, nearest


def test_the_closest_name_comes_first_whatever_its_case():
    assert near("sasrek", ["SASRec", "SASRecF", "GRU4Rec"])[0] == "SASRec"
    assert nearest("embet", ["embed", "tune"]) == "did you mean 'embed'?"


def test_without_a_close_name_all_are_listed():
    assert near("foo", ["embed", "tune"]) == []
    assert nearest("foo", ["tune", "embed"]) == "known are embed, tune"
    assert nearest("foo", []) == "known are none"
