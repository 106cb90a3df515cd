"""Writes a report as one self-contained HTML page: no network, no other files, light or dark like the reader's screen.

Without interactive charts the page has no script, and is well-formed XML, so that any XML parser reads it.
"""

import base64
import html
import re

from recbole_unirep.reports.document import Cell, Chart, Code, Picture, Report, Table
from recbole_unirep.reports.markdown_page import aligned_right

CODE = re.compile(r"`([^`\n]+)`")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # forbidden in XML
CSS = """
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1d2127; --faint: #5c6470; --line: #d5d9df;
  --stripe: #f4f6f8; --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --ground: #15181c; --ink: #e4e7eb; --faint: #a0a8b3; --line: #383e46;
  --stripe: #1e2228; --link: #7fb6f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 72rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; } h2 { margin-top: 2.5rem; font-size: 1.3rem; line-height: 1.3;
  border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
p, nav { max-width: 46rem; } a { color: var(--link); } nav ol { padding-left: 1.4rem; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .88em;
  background: var(--stripe); border-radius: 4px; }
code { padding: .1em .3em; } pre { padding: .75rem; overflow-x: auto; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--faint); vertical-align: bottom; } td { min-width: 4rem; }
tbody tr:nth-child(even) { background: var(--stripe); } .number { text-align: right; white-space: nowrap; }
.note, figcaption { color: var(--faint); font-size: .9rem; max-width: 46rem; }
figure { margin: 1.5rem 0; } img { display: block; min-width: 40rem; max-width: 100%; height: auto; background: #ffffff;
  border-radius: 6px; }
.chart { background: #ffffff; border-radius: 6px; min-width: 40rem; }
"""


def html_page(report: Report, pictures: dict) -> str:
    """Renders a report as HTML.

    Args:
        report (Report): checked by `report.write_report`.
        pictures (dict[str, bytes]): PNG of each figure, by name.

    Returns:
        str: the page; ends with a line break.
    """
    body = [f"<h1>{_inline(report.title)}</h1>"]
    if len(report.sections) > 2:
        entries = (f'<li><a href="#s{n}">{_inline(s.title)}</a></li>' for n, s in enumerate(report.sections, start=1))
        body.append(f"<nav><ol>{''.join(entries)}</ol></nav>")
    for number, section in enumerate(report.sections, start=1):
        blocks = "\n".join(_block(part, pictures) for part in section.parts)
        body.append(f'<section id="s{number}">\n<h2>{_inline(section.title)}</h2>\n{blocks}\n</section>')
    joined = "\n".join(body)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{_escape(report.title)}</title>
<style>{CSS}</style>
</head>
<body>
{joined}
</body>
</html>
"""


def _block(part, pictures):
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Picture):
        data = base64.b64encode(pictures[part.name]).decode("ascii")
        image = f'<img alt="{_escape(part.name.replace("_", " "))}" src="data:image/png;base64,{data}"/>'
        return (
            f'<figure id="{_escape(part.name)}"><div class="wide">{image}</div>'
            f"<figcaption>{_inline(part.caption)}</figcaption></figure>"
        )
    if isinstance(part, Chart):
        caption = f"<figcaption>{_inline(part.caption)}</figcaption>"
        return f'<figure><div class="wide chart">{part.html}</div>{caption}</figure>'
    if isinstance(part, Code):
        return f"<pre>{_escape(part.text.strip())}</pre>"
    return f"<p>{_inline(part)}</p>"


def _table(table):
    classes = [' class="number"' if right else "" for right in aligned_right(table)]
    title = f"<caption>{_inline(table.title)}</caption>" if table.title else ""
    head = "".join(f'<th scope="col"{kind}>{_inline(text)}</th>' for text, kind in zip(table.headers, classes))
    rows = "\n".join(
        f"<tr>{''.join(f'<td{kind}>{_cell(cell)}</td>' for cell, kind in zip(row, classes))}</tr>" for row in table.rows
    )
    note = f'\n<p class="note">{_inline(table.note)}</p>' if table.note else ""
    body = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>"
    return f'<div class="wide"><table>{title}\n{body}</table></div>{note}'


def _cell(cell):
    if not isinstance(cell, Cell):
        return _inline(cell)
    text = _inline(cell.text)
    text = f"<strong>{text}</strong>" if cell.bold else text
    return f"<u>{text}</u>" if cell.underline else text


def _inline(text):
    """Escapes text and sets its `code` as code."""
    return CODE.sub(r"<code>\1</code>", _escape(text))


def _escape(text):
    return html.escape(CONTROL.sub("\ufffd", text))
