"""KeywordIDs: an item's most typical words as its ID, without a language model.

Reference:
    Juntao Tan et al. "IDGenRec: LLM-RecSys Alignment with Textual ID Learning", SIGIR 2024, arXiv:2403.19021 (words of
        the item's text as its ID, chosen by a language model; here by TF-IDF).
"""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from recbole_unirep.tokenizer.assigned import AssignedTokenizer, column


class KeywordIDs(AssignedTokenizer):
    """The words of an item's text with the highest TF-IDF, highest first; all levels share one vocabulary.

    Args:
        n_levels (int): words of an ID; levels beyond an item's words hold -1.
        codebook_size (int): words of the vocabulary, the ones that most items have.
        id_columns (list of str): columns whose text is read, the entries of lists too.
    """

    def __init__(self, *, n_levels: int, codebook_size: int, id_columns: list):
        super().__init__()
        if not isinstance(id_columns, (list, tuple)) or not id_columns:
            raise ValueError(f"id_columns={id_columns} names no column: write --id_columns=[title,brand]")
        self.n_levels, self.codebook_size, self.id_columns = n_levels, codebook_size, list(id_columns)

    def words(self) -> list:
        """The vocabulary: the word of each code, shape: [K]."""
        return self._known()["words"]

    def _learned(self, items):
        texts = self._texts(items)
        try:
            counted = TfidfVectorizer(stop_words="english").fit(texts)
        except ValueError:  # scikit-learn finds no word
            raise ValueError(f"no item has a word in {', '.join(self.id_columns)}: choose other id_columns") from None
        words = counted.get_feature_names_out()
        rarity = counted.idf_  # lower if more items have the word
        kept = np.lexsort((words, rarity))[: self.codebook_size]
        return {"words": words[kept].tolist(), "rarity": rarity[kept].tolist()}

    def _codes(self, items):
        known = self._known()
        counting = TfidfVectorizer(stop_words="english", vocabulary=known["words"])
        counting.idf_ = np.array(known["rarity"])
        weights = counting.transform(self._texts(items))
        codes = np.full((len(items), self.n_levels), -1)
        for item in range(len(items)):
            start, end = weights.indptr[item : item + 2]
            order = np.lexsort((weights.indices[start:end], -weights.data[start:end]))[: self.n_levels]
            codes[item, : len(order)] = weights.indices[start:end][order]
        return codes

    def _texts(self, items):
        columns = [[v if isinstance(v, str) else " ".join(v) for v in column(items, name)] for name in self.id_columns]
        return [" ".join(parts) for parts in zip(*columns)]
