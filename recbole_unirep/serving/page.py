"""recbole_unirep.serving.page: the self-contained web page of `unirep serve`: no external files, no other hosts.

The script inserts answers of the service, such as titles, as text and never as HTML.
"""

import base64
import hashlib

CSS = """
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1d2127; --faint: #5c6470; --line: #d5d9df;
  --stripe: #f4f6f8; --link: #0b57a4; --bar: #8fb8e3; --bad: #a4230b; }
@media (prefers-color-scheme: dark) { :root { --ground: #15181c; --ink: #e4e7eb; --faint: #a0a8b3; --line: #383e46;
  --stripe: #1e2228; --link: #7fb6f2; --bar: #3b6ea3; --bad: #ff9a85; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; padding: 1.25rem 1rem 3rem; max-width: 72rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; padding-bottom: .75rem;
  border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: 1.4rem; } h2 { margin: 0 0 .75rem; font-size: 1.1rem; }
p { margin: .5rem 0; } .faint { color: var(--faint); font-size: .9rem; }
main { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); gap: 2.5rem; margin-top: 1.25rem; }
@media (max-width: 48rem) { main { grid-template-columns: minmax(0, 1fr); gap: 2rem; } }
label { font-weight: 600; font-size: .92rem; }
input[type=search], input[type=text], select { font: inherit; color: inherit; background: var(--ground);
  border: 1px solid var(--faint); border-radius: 6px; padding: .45rem .6rem; }
input[type=search] { display: block; width: 100%; margin-top: .25rem; }
button { font: inherit; color: inherit; background: none; border: 0; cursor: pointer; border-radius: 6px; }
button.plain { border: 1px solid var(--faint); padding: .35rem .75rem; }
button:hover { background: var(--stripe); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
ul, ol { list-style: none; margin: 0; padding: 0; }
#results { border: 1px solid var(--line); border-radius: 6px; margin-top: .4rem; max-height: 19rem; overflow-y: auto; }
#results li + li, #picked li + li, #best li + li { border-top: 1px solid var(--line); }
#results button { display: block; width: 100%; text-align: left; padding: .4rem .6rem; border-radius: 0; }
#results button:focus-visible { outline-offset: -2px; }
.title { display: block; line-height: 1.35; } .token { display: block; color: var(--faint); font-size: .82rem; }
#picked { margin-top: .5rem; } #picked:not(:empty) { border: 1px solid var(--line); border-radius: 6px; }
#picked li, #best li { display: flex; align-items: center; gap: .75rem; padding: .4rem .6rem; position: relative; }
.number { flex: none; width: 1.8rem; text-align: right; color: var(--faint); font-variant-numeric: tabular-nums; }
.name { flex: 1; min-width: 0; }
.score { flex: none; font-variant-numeric: tabular-nums; text-align: right; }
.act { flex: none; width: 2rem; height: 2rem; line-height: 1; font-size: 1.1rem; color: var(--link); }
.bar { position: absolute; left: 0; bottom: 0; height: 4px; background: var(--bar); }
.head { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: .25rem 1rem; }
.controls { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1.25rem; margin-bottom: .75rem; }
.controls select { margin-left: .35rem; font-weight: 400; }
.controls input { margin: 0 .2rem 0 0; width: 1.05rem; height: 1.05rem; vertical-align: -.15em; }
.picking { margin-top: 1.25rem; }
.user { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; margin-top: 1.25rem; }
.user input { flex: 1; min-width: 6rem; } #error { color: var(--bad); font-weight: 600; }
#best { border: 1px solid var(--line); border-radius: 6px; } #best:empty { display: none; }
.waiting { opacity: .55; }
"""

BODY = """
<header><h1>Recommendations</h1><span class="faint" id="model"></span></header>
<main>
<section aria-labelledby="history">
<h2 id="history">History</h2>
<label for="query">Search items by title or token</label>
<input type="search" id="query" maxlength="200" autocomplete="off" spellcheck="false" placeholder="Type, then pick">
<p class="faint" id="found" aria-live="polite"></p>
<ul id="results" aria-label="Found items" hidden></ul>
<div class="head picking"><label id="order">Picked, oldest first</label>
<button type="button" class="plain" id="clear" hidden>Clear</button></div>
<ol id="picked" aria-labelledby="order"></ol>
<p class="faint" id="none">Nothing yet.</p>
<form class="user" id="users" hidden><label for="user">or a known user</label>
<input type="text" id="user" maxlength="200" autocomplete="off" spellcheck="false" placeholder="user token">
<button class="plain">Show</button></form>
</section>
<section aria-labelledby="recommended">
<h2 id="recommended">Recommended</h2>
<div class="controls"><label>How many
<select id="k"><option>5</option><option selected>10</option><option>20</option><option>50</option></select></label>
<label><input type="checkbox" id="keep"> include items of the history</label></div>
<p id="error" role="alert" hidden></p>
<p class="faint" id="of" aria-live="polite">Pick an item to see recommendations.</p>
<ol id="best" aria-label="Recommended items"></ol>
</section>
</main>
"""

SCRIPT = """
"use strict";
const at = id => document.getElementById(id);
const picked = [];
let user = null, searches = 0, asks = 0, timer = null;

function make(tag, kind, text) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
}
function named(item) {
  const name = make("span", "name");
  name.append(make("span", "title", item.title || item.item));
  if (item.title) name.append(make("span", "token", item.item));
  return name;
}
function act(sign, says, call) {
  const button = make("button", "act", sign);
  button.type = "button";
  button.setAttribute("aria-label", says);
  button.title = says;
  button.addEventListener("click", call);
  return button;
}
async function answer(path, options) {
  let reply, value;
  try {
    reply = await fetch(path, options);
    value = await reply.json();
  } catch (error) {
    throw new Error("The service does not answer: is it still running?");
  }
  if (!reply.ok) throw new Error(value.error || "The service answered " + reply.status);
  return value;
}
function complain(text) {
  at("error").textContent = text || "";
  at("error").hidden = !text;
}

async function search() {
  const number = ++searches, query = at("query").value.trim();
  if (!query) { at("results").hidden = true; at("found").textContent = ""; return; }
  let found;
  try {
    found = await answer("items?limit=50&query=" + encodeURIComponent(query));
  } catch (error) {
    if (number === searches) { at("results").hidden = true; at("found").textContent = error.message; }
    return;
  }
  if (number !== searches) return;
  const rows = found.items.map(item => {
    const row = make("li"), button = make("button");
    button.type = "button";
    button.append(named(item));
    button.addEventListener("click", () => pick(item));
    row.append(button);
    return row;
  });
  at("results").replaceChildren(...rows);
  at("results").scrollTop = 0;
  at("results").hidden = !rows.length;
  const more = found.found > rows.length ? ", the first " + rows.length + " are shown" : "";
  at("found").textContent = found.found === 1 ? "1 item" : found.found.toLocaleString("en") + " items" + more;
}

function pick(item) {
  user = null;
  at("user").value = "";
  picked.push(item);
  changed();
}
function changed() {
  at("picked").replaceChildren(...picked.map((item, place) => {
    const row = make("li");
    row.append(make("span", "number", place + 1), named(item), act("\\u00d7", "Remove " + (item.title || item.item),
      () => { picked.splice(place, 1); changed(); }));
    return row;
  }));
  at("none").hidden = picked.length > 0;
  at("clear").hidden = !picked.length;
  recommend();
}

async function recommend() {
  const number = ++asks, asked = {k: Number(at("k").value), keep_earlier: at("keep").checked};
  complain();
  if (user !== null) asked.user = user;
  else if (picked.length) asked.items = picked.map(item => item.item);
  else {
    at("best").replaceChildren();
    at("of").textContent = "Pick an item to see recommendations.";
    return;
  }
  at("best").classList.add("waiting");
  let best = [], says = "";
  try {
    best = (await answer("recommend", {method: "POST", headers: {"Content-Type": "application/json"},
      body: JSON.stringify(asked)})).recommendations;
    if (!best.length) says = "Nothing is left to recommend.";
    else says = user === null ? "" : "For user " + user + ", whose whole history is used.";
  } catch (error) {
    if (number === asks) complain(error.message);
  }
  if (number !== asks) return;
  at("of").textContent = says;
  at("best").classList.remove("waiting");
  const scores = best.map(item => item.score), high = Math.max(...scores), low = Math.min(...scores);
  at("best").replaceChildren(...best.map(item => {
    const row = make("li"), bar = make("span", "bar");
    bar.style.width = (high > low ? 8 + 92 * (item.score - low) / (high - low) : 100) + "%";
    row.append(bar, make("span", "number", item.rank), named(item), make("span", "score", item.score.toFixed(3)),
      act("+", "Add " + (item.title || item.item) + " to the history", () => pick(item)));
    return row;
  }));
}

at("query").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 120); });
at("query").addEventListener("keydown", event => {
  const first = at("results").querySelector("button");
  if (at("results").hidden || !first) return;
  if (event.key === "Enter") first.click();
  else if (event.key === "ArrowDown") { first.focus(); event.preventDefault(); }
});
at("results").addEventListener("keydown", event => {
  const row = document.activeElement.closest("li");
  const next = event.key === "ArrowDown" ? row.nextSibling : event.key === "ArrowUp" ? row.previousSibling : undefined;
  if (next === undefined) return;
  (next ? next.firstChild : event.key === "ArrowUp" ? at("query") : row.firstChild).focus();
  event.preventDefault();
});
at("clear").addEventListener("click", () => { picked.length = 0; changed(); });
at("users").addEventListener("submit", event => {
  event.preventDefault();
  if (!at("user").value.trim()) return;
  picked.length = 0;
  user = at("user").value.trim();
  changed();
});
at("k").addEventListener("change", recommend);
at("keep").addEventListener("change", recommend);
answer("health").then(health => {
  at("model").textContent = health.model + ", " + health.items.toLocaleString("en") + " items";
  at("users").hidden = !health.users;
}, error => complain(error.message));
"""


def _hash(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Recommendations</title>
<style>{CSS}</style>
</head>
<body>{BODY}<script>{SCRIPT}</script>
</body>
</html>
"""
# Allows only this script and this style, no other hosts, no embedding in frames.
POLICY = (
    f"default-src 'none'; script-src {_hash(SCRIPT)}; style-src {_hash(CSS)}; connect-src 'self'; img-src data:; "
    f"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
