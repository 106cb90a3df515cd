"""Interactions that can't be read as they stand are named: nothing is lost, joined or given a time without a word."""

import pytest

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
LINES = "".join(f"u{user}\ti{item}\t{item}\n" for user in range(6) for item in range(user % 3, 5 + user % 3))
BAD = {
    "a user of one interaction each": (
        HEADER + "".join(f"u{user}\ti1\t{user}\n" for user in range(9)),
        "leave nothing to train, to validate or to test on: leave-one-out needs users with at least 4 interactions",
    ),
    "nothing": ("", "has no column 'user_id'"),
    "a header alone": (HEADER, "no interaction of d is left after filtering"),
    "no header": (LINES, "has no column 'name:type' in its first line but 'u0'"),
    "no types": (HEADER.replace(":token", "") + LINES, "has no column 'name:type' in its first line but 'user_id'"),
    "a byte order mark": ("\ufeff" + HEADER + LINES, "begins with a byte order mark"),
    "Latin-1": ((HEADER + LINES + "u1\té\t9\n").encode("latin-1"), "d.inter is no "),
    "words for times": (
        HEADER + LINES.replace("\n", " s\n"),
        "no number in column timestamp:float of 30 of 30 interactions, row 1 first (0 s)",
    ),
    "a missing time": (HEADER + LINES + "u1\ti9\t\n", "of 1 of 31 interactions, row 31 first (nan): repair or remove"),
    "a line that ends early": (HEADER + LINES + "u1\ti9\n", "of 1 of 31 interactions, row 31 first"),
    "a quote that joins lines": (
        HEADER + LINES + '"u1\ti9\t7\nu2\ti9\t8\n"u3\ti8\t9\n',
        "d.inter has 33 lines behind its header, read as 3",
    ),
    "two files in one": (HEADER + LINES + HEADER + LINES, "row 31 first (timestamp:float)"),
}


@pytest.fixture
def load(tmp_path):
    """Loads the dataset d whose interactions are this text."""

    def load_text(text):
        folder = tmp_path / "data" / "d"
        folder.mkdir(parents=True)
        (folder / "d.inter").write_bytes(text if isinstance(text, bytes) else text.encode())
        config = Config("SASRec", "d", config_dict={"data_path": str(folder.parent)})
        return load_data(config, one_row_a_user=True)

    return load_text


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=list(BAD))
def test_what_cannot_be_read_is_named_in_one_line(load, text, message):
    with pytest.raises(ValueError) as caught:
        load(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        HEADER + LINES,
        HEADER + LINES.rstrip("\n"),
        HEADER + LINES.replace("\n", "\n\n\n"),
        (HEADER + LINES).replace("\n", "\r\n"),
        HEADER + LINES.replace("u", "ü'«\"").replace("i", "i\\"),
    ],
    ids=["as it should be", "no break at the end", "empty lines", "Windows' breaks", "quotes and letters within"],
)
def test_what_can_be_read_is_whole(load, text):
    data = load(text)
    assert len(data.train.sequences.items) == 30
    assert len(data.test) == 6
