"""The grammar of command lines: both spellings of a value, flags, words, and what is refused."""

import pytest

from recbole_unirep.settings.arguments import join_arguments, read_arguments, split_arguments


@pytest.mark.parametrize("value", ["5", "-1", "-h", "a=b==c", "[hit@10, ndcg@10]", "two words", "#1", "2014"])
def test_a_value_follows_an_equals_sign_or_a_blank(value):
    assert split_arguments([f"--key={value}"]) == split_arguments(["--key", value]) == {"key": value}


def test_only_the_first_equals_sign_separates_and_a_text_may_be_empty():
    assert split_arguments(["--model_path=a=b==c", "--empty="]) == {"model_path": "a=b==c", "empty": ""}
    assert split_arguments(["--key", ""]) == {"key": ""}


def test_a_value_with_two_dashes_needs_the_equals_sign():
    assert split_arguments(["--key=--value"]) == {"key": "--value"}
    for arguments in (["--key", "--value=1"], ["--value=1", "--key"]):
        with pytest.raises(ValueError, match="^--key has no value: write --key=VALUE$"):
            split_arguments(arguments)


def test_words_options_and_flags_may_stand_in_any_order():
    arguments = ["RUN", "--keep-earlier", "new.csv", "--data-path", "data", "--learning-rate=1"]
    words, texts = read_arguments(arguments, options=["data_path"], flags=["keep_earlier"])
    assert words == ["RUN", "new.csv"]
    assert texts == {"keep_earlier": "True", "data_path": "data", "learning-rate": "1"}  # a key is left as it is
    assert read_arguments(["--keep_earlier=true"], flags=["keep_earlier"]).texts == {"keep_earlier": "True"}


def test_a_flag_takes_no_value():
    with pytest.raises(ValueError, match="^--dry-run takes no value, 'no' is given: leave it out$"):
        read_arguments(["--dry-run=no"], flags=["dry_run"])


@pytest.mark.parametrize("argument", ["model=UniRep", "-m=UniRep", "--=UniRep", "UniRep", "--", "-", "-5"])
def test_an_argument_of_another_form_is_named(argument):
    with pytest.raises(ValueError, match=f"argument '{argument}' is not understood: write --key=value"):
        split_arguments(["--dataset=ml-100k", argument])


def test_a_key_given_twice_must_agree():
    assert split_arguments(["--seed=1", "--seed", "1"]) == {"seed": "1"}
    with pytest.raises(ValueError, match="--seed is given twice, as '1' and '2': give it once"):
        split_arguments(["--seed=1", "--seed=2"])


def test_what_is_joined_is_split_again():
    texts = {"seed": "-1", "metrics": "[hit@10, mrr]", "path": "a=b", "empty": ""}
    assert split_arguments(join_arguments(texts)) == texts
