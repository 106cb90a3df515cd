"""recbole_unirep.serving.service: HTTP API of a recommender, built with FastAPI.

    GET  /                          the web page
    GET  /items?query=..&limit=20   items that match words of title or token: {"items": [{"item", "title"}], "found"}
    POST /recommend                 {"items": [..]} or {"user": ".."}, "k", "candidates", "keep_earlier":
                                    {"user", "recommendations": [{"rank", "item", "title", "score"}]}
    GET  /health                    {"status", "model", "items", "users", "version"}

A bad request gets a 4xx status and {"error": one line}. Size and duration of every request are limited.
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

MAX_BYTES, MAX_SECONDS = 2**20, 20  # size of a request's body; time to receive it
MAX_BYTES_DISCARDED = 2**24  # of a too large body, read on so that the client gets the answer
MAX_ITEMS, MAX_CANDIDATES, MAX_K, MAX_FOUND = 1_000, 20_000, 1_000, 100  # per request
MAX_QUERY = 200  # characters
KEYS = ("items", "user", "k", "candidates", "keep_earlier")
LOG = logging.getLogger(__name__)


class BadRequest(ValueError):
    """A bad request; the message is one line."""


def app(recommender):
    """Builds the service.

    Args:
        recommender (Recommender or ExportedRecommender): recommender shared by all threads.

    Returns:
        FastAPI: ASGI application.
    """
    service = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)  # their pages load scripts from other hosts
    service.add_middleware(_RequestLimits)
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
    def items(query: str = Query("", max_length=MAX_QUERY), limit: int = Query(20, ge=1, le=MAX_FOUND)):
        rows, n_found = search.find(query, limit)
        return {"items": [_item(search.tokens[row], search.titles[row]) for row in rows], "found": n_found}

    @service.post("/recommend")
    async def recommend(request: Request):
        arguments = _parse_request(await request.body(), len(search.tokens))
        try:
            (row,) = await run_in_threadpool(recommender.recommend, **arguments)
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
        return _error(422, f"{first['loc'][-1]}={str(first.get('input'))[:MAX_QUERY]}: {first['msg']}")

    @service.exception_handler(404)
    async def unknown(request, _):
        return _error(404, f"there is no {request.url.path[:MAX_QUERY]}: use /, /items, /recommend or /health")

    @service.exception_handler(405)
    async def wrong_method(request, _):
        path = request.url.path
        allowed = "POST" if path == "/recommend" else "GET"
        return _error(405, f"{request.method} {path} is not allowed: use {allowed} {path}", {"Allow": allowed})

    return service


def model_name(recommender):
    """Returns 'MODEL on DATASET' for display."""
    return f"{recommender.model_name} on {recommender.dataset_name}"


def _item(token, title):
    return {"item": token, "title": title}


def _error(status, error, headers=None):
    line = " ".join(str(error).split()).encode("utf-8", "replace").decode("utf-8")  # replaces lone surrogates
    return JSONResponse({"error": line}, status, headers)


def _parse_request(body, n_items):
    """Parses the body of POST /recommend into arguments of `Recommender.recommend`.

    Raises:
        BadRequest: the body is not JSON, or a key or value is invalid or too large.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f'the body is not JSON ({error}): send for example {{"items": ["A", "B"]}}') from error
    if not isinstance(given, dict):
        raise BadRequest('the body is not a JSON object: send for example {"items": ["A", "B"]}')
    for key in given:
        if key not in KEYS:
            raise BadRequest(f"key '{key[:MAX_QUERY]}' is not known: use {', '.join(KEYS)}")
    given = {key: value for key, value in given.items() if value is not None}
    if not {"items", "user"} & given.keys():
        raise BadRequest("neither items nor user is given: send items, a list of tokens, or user, a token")
    k, keep_earlier, user = given.get("k", min(10, n_items)), given.get("keep_earlier", False), given.get("user")
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise BadRequest(f"k={str(k)[:20]} is not a number of items: send a whole number from 1 to {MAX_K}")
    if not isinstance(keep_earlier, bool):
        raise BadRequest(f"keep_earlier={str(keep_earlier)[:20]} is not a boolean: send true or false")
    if user is not None and not _is_token(user):
        raise BadRequest("user is not a token: send a string")
    items, candidates = _tokens(given, "items", MAX_ITEMS), _tokens(given, "candidates", MAX_CANDIDATES)
    return {
        "items": None if items is None else [items],
        "users": None if user is None else [str(user)],
        "k": k,
        "candidates": candidates,
        "keep_earlier": keep_earlier,
    }


def _tokens(given, key, most):
    """Returns a list of at most `most` tokens; None if the key is missing."""
    tokens = given.get(key)
    if tokens is None:
        return None
    if not isinstance(tokens, list) or not all(map(_is_token, tokens)):
        raise BadRequest(f'{key} is not a list of tokens: send for example ["A", "B"]')
    if len(tokens) > most:
        raise BadRequest(f"{key} has {len(tokens)} tokens, at most {most} are allowed: send fewer")
    return [str(token) for token in tokens]


def _is_token(value):
    return isinstance(value, (str, int)) and not isinstance(value, bool)


class _RequestLimits:
    """Reads the whole body first, within MAX_BYTES and MAX_SECONDS, and turns unhandled exceptions into status 500."""

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
            body = await asyncio.wait_for(_body(receive), MAX_SECONDS)
        except asyncio.TimeoutError:
            late = _error(
                408, f"the request was incomplete after {MAX_SECONDS} seconds: send it again", {"Connection": "close"}
            )
            return await late(scope, receive, send)
        if body is None:  # the client has disconnected
            return
        if len(body) > MAX_BYTES:
            large = _error(413, f"the request has more than {MAX_BYTES} bytes: send less", {"Connection": "close"})
            return await large(scope, receive, send)
        try:
            await self.inner(scope, _replay(body, receive), watched)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            LOG.error(f"{scope['method']} {scope['path']}: {reason}")
            if not has_begun:
                failed = _error(500, "the service failed on this request: see its log")
                await failed(scope, receive, send)


async def _body(receive):
    """Returns the body, or its beginning if it is too large, or None if the client disconnects."""
    parts, n_bytes, n_kept = [], 0, 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        n_bytes += len(part)
        if n_kept <= MAX_BYTES:
            parts.append(part)
            n_kept += len(part)
        if not message.get("more_body") or n_bytes > MAX_BYTES_DISCARDED:
            return b"".join(parts)


def _replay(body, receive):
    """Returns a `receive` callable that first delivers `body`, which has already been read."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message():
        return messages.pop() if messages else await receive()

    return next_message
