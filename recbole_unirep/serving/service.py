"""recbole_unirep.serving.service: a recommender over HTTP, by FastAPI.

    GET  /                          the page
    GET  /items?query=..&limit=20   items by words of title or token: {"items": [{"item", "title"}], "found"}
    POST /recommend                 {"items": [..]} or {"user": ".."}, "k", "candidates", "keep_earlier":
                                    {"user", "recommendations": [{"rank", "item", "title", "score"}]}
    GET  /health                    {"status", "model", "items", "users", "version"}

What is wrong with a request is said by a status of 4xx and {"error": one line}. Every request is bounded.
"""

import asyncio
import json
import logging

from recbole_unirep.serving.item_search import ItemSearch
from recbole_unirep.serving.page import PAGE, POLICY
from recbole_unirep.version import __version__

try:
    from fastapi import FastAPI, Query, Request
    from fastapi.concurrency import run_in_threadpool
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse
except ImportError as error:
    raise ImportError(
        f"unirep serve needs fastapi ({error}): install it with pip install 'recbole-unirep[serve]'"
    ) from error

BYTES, SECONDS = 2**20, 20  # of a request's body, and until it is there
BYTES_THROWN_AWAY = 2**24  # of a body that is too large, so that whoever sends it reads the answer
ITEMS, CANDIDATES, MOST, FOUND = 1_000, 20_000, 1_000, 100  # of a history, a list, recommended, found
QUERY = 200  # characters
KEYS = ("items", "user", "k", "candidates", "keep_earlier")
LOG = logging.getLogger(__name__)


class BadRequest(ValueError):
    """What is wrong with a request, in one line."""


def app(recommender):
    """The service.

    Args:
        recommender (Recommender or ExportedRecommender): threads share it.

    Returns:
        FastAPI: an ASGI application.
    """
    service = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)  # whose pages read scripts from elsewhere
    service.add_middleware(_Bounded)
    search = ItemSearch(recommender.item_tokens[1:], recommender.titles[1:])

    @service.get("/", response_class=HTMLResponse)
    def page():
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})

    @service.get("/health")
    def health():
        return {
            "status": "ok",
            "model": model_name(recommender),
            "items": len(search.tokens),
            "users": max(0, len(recommender.user_ids) - 1),
            "version": __version__,
        }

    @service.get("/items")
    def items(query: str = Query("", max_length=QUERY), limit: int = Query(20, ge=1, le=FOUND)):
        rows, n_found = search.find(query, limit)
        return {"items": [_item(search.tokens[row], search.titles[row]) for row in rows], "found": n_found}

    @service.post("/recommend")
    async def recommend(request: Request):
        asked = _asked(await request.body(), len(search.tokens))
        try:
            (row,) = await run_in_threadpool(recommender.recommend, **asked)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        best = zip(row.items, row.titles, row.scores)
        ranked = [{"rank": rank, **_item(*one[:2]), "score": one[2]} for rank, one in enumerate(best, start=1)]
        return {"user": row.user, "recommendations": ranked}

    @service.exception_handler(BadRequest)
    async def bad_request(_, error):
        return _error(400, error)

    @service.exception_handler(RequestValidationError)
    async def bad_query(_, error):
        first = error.errors()[0]
        return _error(422, f"{first['loc'][-1]}={str(first.get('input'))[:QUERY]}: {first['msg']}")

    @service.exception_handler(404)
    async def unknown(request, _):
        return _error(404, f"there is no {request.url.path[:QUERY]}: ask for /, /items, /recommend or /health")

    @service.exception_handler(405)
    async def wrong_method(request, _):
        path = request.url.path
        right = "POST" if path == "/recommend" else "GET"
        return _error(405, f"{request.method} {path} is not answered: {right} {path} is", {"Allow": right})

    return service


def model_name(recommender):
    """Model and dataset, for a reader."""
    return f"{recommender.model_name} on {recommender.dataset_name}"


def _item(token, title):
    return {"item": token, "title": title}


def _error(status, error, headers=None):
    line = " ".join(str(error).split()).encode("utf-8", "replace").decode("utf-8")  # half a character may be in it
    return JSONResponse({"error": line}, status, headers)


def _asked(body, n_items):
    """What a body of POST /recommend asks a recommender for.

    Raises:
        BadRequest: it is no JSON, or asks for what is not understood or too much.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f'the body is no JSON ({error}): send such as {{"items": ["A", "B"]}}') from error
    if not isinstance(given, dict):
        raise BadRequest('the body is no JSON object: send such as {"items": ["A", "B"]}')
    for key in given:
        if key not in KEYS:
            raise BadRequest(f"'{key[:QUERY]}' is not understood: known are {', '.join(KEYS)}")
    given = {key: value for key, value in given.items() if value is not None}
    if not {"items", "user"} & given.keys():
        raise BadRequest("nobody is asked for: send items, a list of tokens, or user, a token")
    k, keep_earlier, user = given.get("k", min(10, n_items)), given.get("keep_earlier", False), given.get("user")
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST:
        raise BadRequest(f"k={str(k)[:20]} is no number of items: send a whole number from 1 to {MOST}")
    if not isinstance(keep_earlier, bool):
        raise BadRequest(f"keep_earlier={str(keep_earlier)[:20]}: send true or false")
    if user is not None and not _is_token(user):
        raise BadRequest("user is no token: send a text")
    items, candidates = _tokens(given, "items", ITEMS), _tokens(given, "candidates", CANDIDATES)
    return {
        "items": None if items is None else [items],
        "users": None if user is None else [str(user)],
        "k": k,
        "candidates": candidates,
        "keep_earlier": keep_earlier,
    }


def _tokens(given, key, most):
    """A list of tokens, None where there is none."""
    tokens = given.get(key)
    if tokens is None:
        return None
    if not isinstance(tokens, list) or not all(map(_is_token, tokens)):
        raise BadRequest(f'{key} are no list of tokens: send such as ["A", "B"]')
    if len(tokens) > most:
        raise BadRequest(f"{key} are {len(tokens)}, at most {most} are read: send the last ones")
    return [str(token) for token in tokens]


def _is_token(value):
    return isinstance(value, (str, int)) and not isinstance(value, bool)


class _Bounded:
    """Reads a request's body before anything else does, within BYTES and SECONDS, and answers what nobody else did."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.inner(scope, receive, send)
        has_begun = False

        async def watched(message):
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            body = await asyncio.wait_for(_body(receive), SECONDS)
        except asyncio.TimeoutError:
            late = _error(408, f"the request was not there after {SECONDS} seconds", {"Connection": "close"})
            return await late(scope, receive, send)
        if body is None:  # the sender has left
            return
        if len(body) > BYTES:
            large = _error(413, f"the request has more than {BYTES} bytes: send less", {"Connection": "close"})
            return await large(scope, receive, send)
        try:
            await self.inner(scope, _given(body, receive), watched)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            LOG.error(f"{scope['method']} {scope['path']}: {reason}")
            if not has_begun:
                failed = _error(500, "the service failed at this request; its log says by what")
                await failed(scope, receive, send)


async def _body(receive):
    """The body, the beginning of one that is too large, or None."""
    parts, n_bytes, n_kept = [], 0, 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        n_bytes += len(part)
        if n_kept <= BYTES:
            parts.append(part)
            n_kept += len(part)
        if not message.get("more_body") or n_bytes > BYTES_THROWN_AWAY:
            return b"".join(parts)


def _given(body, receive):
    """`receive` of an application that gets a body that has been read."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message():
        return messages.pop() if messages else await receive()

    return next_message
