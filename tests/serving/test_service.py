"""The service over real sockets: answers, limits, and one line per bad request."""

import http.client
import json
import socket
import threading
import time

import pytest

from recbole_unirep.serving import service
from recbole_unirep.serving.recommender import Recommender


@pytest.fixture
def served(run, serve):
    """A served SASRec: its recommender, and a function that calls the service and returns status and JSON."""
    recommender = Recommender.load(run())
    port = serve(recommender)

    def call(method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8")
        connection.close()
        return answer.status, json.loads(text)

    call.port = port
    return recommender, call


def test_health_names_model_items_and_users(served):
    status, health = served[1]("GET", "/health")
    assert status == 200
    assert {"status": "ok", "model": "SASRec on tiny", "items": 118, "users": 60}.items() <= health.items()


def test_the_service_recommends_what_the_recommender_does(served):
    recommender, call = served
    listed = {"k": 2, "candidates": ["i2", "i3", "i4"]}
    for body, asked in (
        ({"items": ["i1", "i2"]}, {"items": [["i1", "i2"]]}),
        ({"items": ["i1"], "k": 3, "keep_earlier": True}, {"items": [["i1"]], "k": 3, "keep_earlier": True}),
        ({"items": ["i1"], **listed}, {"items": [["i1"]], **listed}),
        ({"user": "u7", "k": 5, "items": None}, {"users": ["u7"], "k": 5}),
    ):
        (row,) = recommender.recommend(**asked)
        status, found = call("POST", "/recommend", body)
        assert (status, found["user"]) == (200, row.user)
        lines = zip(range(1, len(row.items) + 1), row.items, row.titles, row.scores)
        expected = [dict(zip(("rank", "item", "title", "score"), line)) for line in lines]
        assert found["recommendations"] == expected


def test_items_are_found_by_words_of_their_titles(served):
    recommender, call = served
    titles = dict(zip(recommender.item_tokens[1:].tolist(), recommender.titles[1:].tolist()))
    status, found = call("GET", "/items?query=SOAP+number&limit=100")
    assert status == 200
    assert {item["item"]: item["title"] for item in found["items"]} == {
        token: title for token, title in titles.items() if "soap" in title
    }
    assert found["found"] == len(found["items"])
    status, first = call("GET", "/items?limit=3")
    assert [item["item"] for item in first["items"]] == recommender.item_tokens[1:4].tolist()
    assert first["found"] == 118 and call("GET", "/items?query=nothing+has+this") == (200, {"items": [], "found": 0})


BAD = [
    ("GET", "/gone", None, 404, "there is no /gone: use /, /items, /recommend or /health"),
    ("GET", "/docs", None, 404, "there is no /docs"),
    ("GET", "/recommend", None, 405, "GET /recommend is not allowed: use POST /recommend"),
    ("DELETE", "/items", None, 405, "DELETE /items is not allowed: use GET /items"),
    ("GET", "/items?limit=0", None, 422, "limit=0: Input should be greater than or equal to 1"),
    ("GET", "/items?limit=1000", None, 422, "limit=1000: Input should be less than or equal to 100"),
    ("GET", "/items?limit=ten", None, 422, "limit=ten: Input should be a valid integer"),
    ("GET", "/items?query=" + 300 * "a", None, 422, "String should have at most 200 characters"),
    ("POST", "/recommend", b"", 400, "the body is not JSON (Expecting value"),
    ("POST", "/recommend", b"{'items': ['i1']}", 400, "the body is not JSON (Expecting property name"),
    ("POST", "/recommend", b"\xff\xfe\x00", 400, "the body is not JSON"),
    ("POST", "/recommend", 200_000 * b"[", 400, "the body is not JSON"),
    ("POST", "/recommend", 10_000 * b"9", 400, "the body is not JSON"),
    ("POST", "/recommend", ["i1"], 400, "the body is not a JSON object"),
    ("POST", "/recommend", {}, 400, "neither items nor user is given: send items, a list of tokens, or user, a token"),
    ("POST", "/recommend", {"itmes": ["i1"]}, 400, "key 'itmes' is not known: use items, user, k, candidates"),
    ("POST", "/recommend", {"items": "i1"}, 400, 'items is not a list of tokens: send for example ["A", "B"]'),
    ("POST", "/recommend", {"items": ["i1", None]}, 400, "items is not a list of tokens"),
    ("POST", "/recommend", {"items": [["i1"]]}, 400, "items is not a list of tokens"),
    ("POST", "/recommend", {"items": []}, 400, "history 1 is empty"),
    ("POST", "/recommend", {"items": ["i1", "i1000"]}, 400, "the first is 'i1000': did you mean 'i100'?"),
    ("POST", "/recommend", {"items": ["\ud800"]}, 400, "1 of 1 items are not among the run's 118"),
    ("POST", "/recommend", {"items": ["a\nb"]}, 400, "the first is 'a b'"),
    ("POST", "/recommend", {"items": 1001 * ["i1"]}, 400, "items has 1001 tokens, at most 1000 are allowed"),
    (
        "POST",
        "/recommend",
        {"items": ["i1"], "candidates": 20_001 * ["i1"]},
        400,
        "candidates has 20001 tokens, at most 20000",
    ),
    ("POST", "/recommend", {"items": ["i1"], "candidates": ["x"]}, 400, "candidates are not among the run's 118"),
    ("POST", "/recommend", {"items": ["i1"], "k": 119}, 400, "k=119 is more than the 118 items of the run: lower k"),
    ("POST", "/recommend", {"items": ["i1"], "k": 10**9}, 400, "k=1000000000 is not a number of items"),
    ("POST", "/recommend", {"items": ["i1"], "k": 0}, 400, "k=0 is not a number of items: send a whole number from 1"),
    ("POST", "/recommend", {"items": ["i1"], "k": 2.5}, 400, "k=2.5 is not a number of items"),
    ("POST", "/recommend", {"items": ["i1"], "k": True}, 400, "k=True is not a number of items"),
    (
        "POST",
        "/recommend",
        {"items": ["i1"], "keep_earlier": "no"},
        400,
        "keep_earlier=no is not a boolean: send true or false",
    ),
    ("POST", "/recommend", {"user": "u600"}, 400, "1 of 1 users are not among the run's 60"),
    ("POST", "/recommend", {"user": "[PAD]"}, 400, "1 of 1 users are not among the run's 60"),
    ("POST", "/recommend", {"user": ["u1"]}, 400, "user is not a token: send a string"),
    ("POST", "/recommend", (2**20 + 1) * b" ", 413, "the request has more than 1048576 bytes: send less"),
]


def test_a_bad_request_gets_one_line(served, capfd):
    _, call = served
    for method, path, body, status, message in BAD:
        found, said = call(method, path, body)
        assert (found, list(said)) == (status, ["error"]), (path, body, said)
        assert message in said["error"] and "\n" not in said["error"], (said, message)
        assert len(said["error"]) < 600 and "Traceback" not in said["error"]
    assert call("POST", "/recommend", {"items": ["i1"]})[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_body_without_content_length_is_limited_too(served, monkeypatch):
    _, call = served
    parts = (b"%x\r\n%b\r\n" % (len(part), part) for part in 20 * [2**16 * b" "])
    with socket.create_connection(("127.0.0.1", call.port), timeout=30) as connection:
        connection.sendall(b"POST /recommend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"".join(parts) + b"0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_incomplete_body_times_out(served, monkeypatch):
    _, call = served
    monkeypatch.setattr(service, "MAX_SECONDS", 0.2)
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", call.port), timeout=30) as connection:
        connection.sendall(b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))  # head and body may arrive apart; then it closes
    assert answer.startswith(b"HTTP/1.1 408 ") and b"the request was incomplete" in answer
    assert time.monotonic() - begun < 10


def test_an_internal_error_is_logged_but_not_sent_to_the_client(served, monkeypatch, caplog, capfd):
    recommender, call = served

    def fail(**_):
        raise RuntimeError("secret\npath")

    monkeypatch.setattr(recommender, "recommend", fail)
    expected = {"error": "the service failed on this request: see its log"}
    assert call("POST", "/recommend", {"items": ["i1"]}) == (500, expected)
    assert "POST /recommend: RuntimeError: secret path" in caplog.text
    assert "Traceback" not in capfd.readouterr().err


def test_the_service_answers_concurrent_requests(served):
    recommender, call = served
    tokens, found = recommender.item_tokens[1:25].tolist(), {}

    def ask(token):
        found[token] = call("POST", "/recommend", {"items": [token], "k": 4})

    threads = [threading.Thread(target=ask, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for token in tokens:
        status, answer = found[token]
        assert status == 200
        assert [item["item"] for item in answer["recommendations"]] == recommender.recommend([[token]], k=4)[0].items
