"""Reports: one self-contained HTML page for any texts, and the same content as Markdown."""

import base64
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest

from recbole_unirep.analysis import plots
from recbole_unirep.reports.report import Cell, Code, Picture, Report, Section, Table, write_report

CHECKOUT = Path(__file__).resolve().parents[2]
NASTY = "<script>alert('x')</script> & \"q\" | *a* [b](http://example.com) \x07"
SCORES = Table(
    "Scores & <losses>",
    ["model", "HIT@10", "p"],
    [["SASRec|CE", ".45 ± .01", "n/a"], ["UniRep", Cell(".56", bold=True), Cell("< .001", underline=True)]],
    "Best bold.",
)


def picture(name="curve"):
    return Picture(name, plots.learning_curves({"run": ([0, 1], [0.1, 0.2], 1)}, "MRR", "Title"), "A `curve` & more")


def report(*parts):
    return Report(
        NASTY, [Section(title, list(parts)) for title in ("First", "Second <i>", "Third")][: 3 if parts else 0]
    )


def written(folder, *parts, title="Title"):
    page = write_report(folder, Report(title, [Section("Section", list(parts))]))
    return ElementTree.fromstring(page.read_text(encoding="utf-8")), (folder / "report.md").read_text(encoding="utf-8")


def test_the_page_loads_nothing_and_runs_nothing(tmp_path):
    page, _ = written(tmp_path, NASTY, SCORES, picture(), Code("a <b> & c"), title=NASTY)
    tags = {element.tag for element in page.iter()}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base"}
    loaded = [
        element.get(key) for element in page.iter() for key in ("src", "href", "srcset", "data") if element.get(key)
    ]
    assert loaded
    assert all(re.match(r"data:image/png;base64,|#", address) for address in loaded)
    style = page.find("head/style").text
    assert not re.search(r"url\(|@import|https?:", style)
    assert "prefers-color-scheme: dark" in style
    assert page.find("head/meta[@name='viewport']") is not None


def test_texts_come_back_as_they_were(tmp_path):
    page, _ = written(tmp_path, NASTY, Code("a <b> & `c`"), title=NASTY)
    shown = NASTY.replace("\x07", "\ufffd")
    assert page.find("body/h1").text == page.find("head/title").text == page.find(".//p").text == shown
    assert page.find(".//pre").text == "a <b> & `c`"


def test_words_between_back_quotes_are_code(tmp_path):
    page, markdown = written(tmp_path, "the key `loss_type` is *kept*")
    assert page.find(".//p/code").text == "loss_type"
    assert "the key `loss_type` is \\*kept\\*" in markdown


def test_tables_keep_cells_marks_and_sides(tmp_path):
    page, markdown = written(tmp_path, SCORES)
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    assert rows == [["model", "HIT@10", "p"], ["SASRec|CE", ".45 ± .01", "n/a"], ["UniRep", ".56", "< .001"]]
    assert page.find(".//caption").text == "Scores & <losses>"
    assert page.find(".//strong").text == ".56"
    assert page.find(".//u").text == "< .001"
    assert [cell.get("class") for cell in page.iter("th")] == [None, "number", "number"]
    assert "| model | HIT@10 | p |\n| --- | ---: | ---: |\n| SASRec\\|CE | .45 ± .01 | n/a |\n" in markdown
    assert "| UniRep | **.56** | <ins>\\< .001</ins> |\n\nBest bold.\n" in markdown
    assert "**Scores & \\<losses\\>**" in markdown


def test_a_column_with_words_is_left_aligned(tmp_path):
    page, _ = written(tmp_path, Table("", ["a", "b"], [["1", ""], ["two", "n/a"]]))
    assert [cell.get("class") for cell in page.iter("th")] == [None, None]


def test_the_figure_on_the_page_is_the_one_beside_the_markdown(tmp_path):
    page, markdown = written(tmp_path, picture())
    inlined = base64.b64decode(page.find(".//img").get("src").partition("base64,")[2])
    assert inlined[:8] == b"\x89PNG\r\n\x1a\n"
    assert inlined == (tmp_path / "figures" / "curve.png").read_bytes()
    assert "![curve](figures/curve.png)\n\nA `curve` & more\n" in markdown
    assert "".join(page.find(".//figcaption").itertext()) == "A curve & more"


def test_a_report_does_not_depend_on_the_users_settings(tmp_path):
    first = write_report(tmp_path / "first", report(SCORES, "text"))
    with matplotlib.rc_context({"font.size": 30, "grid.color": "red", "savefig.facecolor": "red"}):
        second = write_report(tmp_path / "second", report(SCORES, "text"))
    assert first.read_bytes() == second.read_bytes()


def test_a_drawn_figure_keeps_its_looks(tmp_path):
    write_report(tmp_path / "first", Report("T", [Section("S", [picture()])]))
    with matplotlib.rc_context({"font.size": 30, "grid.color": "red", "lines.linewidth": 9}):
        write_report(tmp_path / "second", Report("T", [Section("S", [picture()])]))
    first, second = ((tmp_path / name / "figures" / "curve.png").read_bytes() for name in ("first", "second"))
    assert first == second


def test_long_reports_have_contents_that_lead_to_their_sections(tmp_path):
    page = ElementTree.fromstring(write_report(tmp_path, report("text")).read_text(encoding="utf-8"))
    targets = {element.get("id") for element in page.iter("section")}
    links = {link.get("href")[1:]: link.text for link in page.iter("a")}
    assert set(links) == targets
    assert list(links.values()) == ["First", "Second <i>", "Third"]


@pytest.mark.parametrize("text", ["- no list", "1. no list", "## no heading", "> no quote", "--- no rule", "+ no list"])
def test_a_paragraph_is_not_markup(tmp_path, text):
    _, markdown = written(tmp_path, text)
    assert not re.search(r"^(-+ |\+ |>|#{1,6} (?!Title$|Section$)|\d+\. )", markdown, re.MULTILINE)
    assert text in markdown.replace("\\", "")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([Table("T", ["a", "b"], [["1"]])], r"table 'T' has 2 headers and a row of 1 cells \(1, \.\.\.\)"),
        ([picture(), picture()], "2 of the figures are named 'curve'"),
        ([picture("../up")], "1 of the figures are named '../up'"),
    ],
)
def test_an_invalid_report_is_an_error_and_writes_nothing(tmp_path, parts, message):
    with pytest.raises(ValueError, match=message):
        write_report(tmp_path / "report", Report("T", [Section("S", parts)]))
    assert not (tmp_path / "report").exists()


def test_a_report_without_figures_needs_no_matplotlib(tmp_path):
    code = (
        "import sys; sys.modules['matplotlib'] = None; from recbole_unirep.reports.report import *; "
        f"write_report({str(tmp_path)!r}, Report('T', [Section('S', ['text'])]))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md"]
