"""recbole_unirep.serving.item_search: items found by words of their titles or tokens."""

import unicodedata

START, WORD, WITHIN = range(3)  # how good a match is, best first; the token itself stands before all


class ItemSearch:
    """Items of a catalogue, found as someone types.

    Args:
        tokens (sequence of str): item tokens, without padding, shape: [N].
        titles (sequence of str): "" where an item has none, shape: [N].
    """

    def __init__(self, tokens, titles):
        self.tokens, self.titles = [str(token) for token in tokens], [str(title) for title in titles]
        self._folded = [f"{folded(title)} {folded(token)}" for title, token in zip(self.titles, self.tokens)]
        self._row = {token: row for row, token in enumerate(self.tokens)}

    def find(self, query, limit):
        """Items that hold every word of the query, whatever the case and the accents.

        The item of that token first, then titles that begin with the query, those in which each word begins a word,
        others; shorter ones before longer ones.

        Args:
            query (str): "" for all items, in their order.
            limit (int): how many at most.

        Returns:
            tuple[list[int], int]: their places in the catalogue, and how many there are.
        """
        words = folded(query).split()
        if not words:
            return list(range(min(limit, len(self.tokens)))), len(self.tokens)
        rows = [row for row, text in enumerate(self._folded) if all(word in text for word in words)]
        own, whole = self._row.get(query.strip()), " ".join(words)
        if own is not None:
            rows = [row for row in rows if row != own]
        best = sorted(rows, key=lambda row: (self._quality(row, words, whole), len(self._folded[row]), row))
        found = ([] if own is None else [own]) + best
        return found[:limit], len(found)

    def _quality(self, row, words, whole):
        text = self._folded[row]
        if text.startswith(whole):
            return START
        return WORD if all(f" {word}" in f" {text}" for word in words) else WITHIN


def folded(text):
    """A text without case and accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))
