"""Unreadable interactions raise a clear error: none is silently dropped, joined with another or given a time."""

import pytest

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
LINES = "".join(f"u{user}\ti{item}\t{item}\n" for user in range(6) for item in range(user % 3, 5 + user % 3))
BAD = {
    "one interaction per user": (
        HEADER + "".join(f"u{user}\ti1\t{user}\n" for user in range(9)),
        "leave training, validation or test empty: leave-one-out needs users with at least 4 interactions",
    ),
    "an empty file": ("", "has no column 'user_id'"),
    "only a header": (HEADER, "no interaction of d is left after filtering"),
    "no header": (LINES, "has 'u0' in its first line instead of 'name:type'"),
    "no types": (HEADER.replace(":token", "") + LINES, "has 'user_id' in its first line instead of 'name:type'"),
    "a byte order mark": ("\ufeff" + HEADER + LINES, "begins with a byte order mark"),
    "Latin-1": ((HEADER + LINES + "u1\té\t9\n").encode("latin-1"), "d.inter is not "),
    "words for times": (
        HEADER + LINES.replace("\n", " s\n"),
        "has 30 of 30 interactions without a number in column timestamp:float, row 1 first (0 s)",
    ),
    "a missing time": (
        HEADER + LINES + "u1\ti9\t\n",
        "1 of 31 interactions without a number in column timestamp:float, row 31 first (nan): repair or remove",
    ),
    "a line that ends early": (HEADER + LINES + "u1\ti9\n", "has 1 of 31 interactions without a number"),
    "a quote that joins lines": (
        HEADER + LINES + '"u1\ti9\t7\nu2\ti9\t8\n"u3\ti8\t9\n',
        "d.inter has 33 lines after its header, read as 3",
    ),
    "two files in one": (HEADER + LINES + HEADER + LINES, "row 31 first (timestamp:float)"),
}


@pytest.fixture
def load(tmp_path):
    """Loads a dataset named d from the text of its interactions."""

    def load_text(text):
        folder = tmp_path / "data" / "d"
        folder.mkdir(parents=True)
        (folder / "d.inter").write_bytes(text if isinstance(text, bytes) else text.encode())
        config = Config("SASRec", "d", config_dict={"data_path": str(folder.parent)})
        return load_data(config, one_row_a_user=True)

    return load_text


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=list(BAD))
def test_an_unreadable_file_is_reported_in_one_line(load, text, message):
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
    ids=["well-formed", "no line break at the end", "empty lines", "Windows line breaks", "quotes and letters"],
)
def test_a_readable_file_is_read_completely(load, text):
    data = load(text)
    assert len(data.train.sequences.items) == 30
    assert len(data.test) == 6
