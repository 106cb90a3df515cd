"""recbole_unirep.serving.item_search: finds items by words of their titles or tokens."""

import unicodedata

START, WORD, WITHIN = range(3)  # quality of a match, best first; an exact token comes before all


class ItemSearch:
    """Search over the items of a catalogue, for use while the user types.

    Args:
        tokens (sequence of str): item tokens, without padding, shape: [N].
        titles (sequence of str): "" if an item has none, shape: [N].
    """

    def __init__(self, tokens, titles):
        self.tokens, self.titles = [str(token) for token in tokens], [str(title) for title in titles]
        self._folded = [f"{folded(title)} {folded(token)}" for title, token in zip(self.titles, self.tokens)]
        self._row = {token: row for row, token in enumerate(self.tokens)}

    def find(self, query, limit):
        """Finds items that contain every word of the query, ignoring case and accents.

        Order: the item whose token is the query, titles that start with the query, titles in which each query word
        starts a word, all other matches. Within each group shorter titles come first.

        Args:
            query (str): "" for all items in catalogue order.
            limit (int): maximum number of items to return.

        Returns:
            tuple[list[int], int]: row indices of the items, and the total number of matches.
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
    """Returns the text in lower case without accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))
