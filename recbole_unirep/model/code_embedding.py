"""recbole_unirep.model.code_embedding: semantic embeddings of codes that stand still.

The codes come from a tokenizer that was fitted beforehand, or from a bundle; a learned vector of each code, summed over
an item's levels, is its semantic embedding.

Reference:
    Yupeng Hou, Zhankui He, Julian McAuley, Wayne Xin Zhao. "Learning Vector-Quantized Item Representation for
        Transferable Sequential Recommenders", arXiv:2210.12316 (codes to summed embeddings).
    Singh et al. "Better Generalization with Semantic IDs: A Case Study in Ranking for Recommendations",
        arXiv:2306.08121 (n-grams and SentencePieces of codes).
"""

from typing import Any, NamedTuple, Optional

import torch
from torch import nn

from recbole_unirep.data.catalogue import GRAPH, Catalogue, graph, load_catalogue
from recbole_unirep.semantic_ids import SemanticIds, is_numbered, read_record
from recbole_unirep.tokenizer import TOKENIZERS, is_collaborative, make_tokenizer, reads_vectors
from recbole_unirep.tokenizer.base import shipped_defaults
from recbole_unirep.tokenizer.collisions import CatalogueCodes, catalogue_codes, resolve
from recbole_unirep.tokenizer.pieces import code_pieces, ngram_pieces, sentence_pieces

CODE_PIECES = ("code", "ngram", "sentencepiece")


class CodeEmbedding(nn.Module):
    """Sum of learned vectors of the pieces of an item's ID, of its codes where nothing else is said.

    Args:
        codes (Tensor): row 0 pads; unused levels hold -1, shape: [n_items, L], int64.
        codebook_sizes (list of int): codes of each level, shape: [L].
        dim (int): dimensions of a vector.
        init_std (float): standard deviation of the vectors at the start, before they are summed.
        pieces (Pieces or None): of the items, row 0 without any.
    """

    def __init__(self, codes, codebook_sizes, dim, init_std, pieces=None):
        super().__init__()
        self.codebook_sizes, self.has_code_vectors = list(codebook_sizes), pieces is None
        tokens, n_pieces = code_pieces(codes, codebook_sizes) if pieces is None else pieces
        self.register_buffer("codes", codes)
        self.register_buffer("tokens", tokens, persistent=pieces is not None)
        self.vectors = nn.EmbeddingBag(1 + n_pieces, dim, mode="sum", padding_idx=0)
        nn.init.normal_(self.vectors.weight, std=init_std)
        with torch.no_grad():
            self.vectors.weight[0] = 0

    @property
    def n_parameters(self):
        """Learned numbers of pieces; the padding row is none."""
        return self.vectors.weight[1:].numel()

    def forward(self, items):
        """Semantic embeddings of item ids [M], shape: [M, dim], and their codes, shape: [M, L]."""
        return self.vectors(self.tokens[items]), self.codes[items]


def item_pieces(config, fixed, n_training_items, dataset):
    """Pieces of the items' IDs that the config asks for; None where each code is one.

    Args:
        config (Config): ours: code_pieces, ngram_size, n_pieces.
        fixed (FixedCodes): codes of the items.
        n_training_items (int): number of item ids that take part in training, padding included.
        dataset (Dataset): RecBole's, the training part.

    Raises:
        ValueError: see `sentence_pieces`.
    """
    kind = config["code_pieces"]
    if kind == "code":
        return None
    # One more than an item is a target, so that those that are only read count as well.
    counts = 1 + torch.bincount(dataset.inter_feat[dataset.iid_field], minlength=dataset.item_num)
    counts[0] = 0
    counts[n_training_items:] = 0
    if kind == "ngram":
        return ngram_pieces(fixed.codes, counts, config["ngram_size"])
    return sentence_pieces(fixed.codes, counts, config["n_pieces"])


class FixedCodes(NamedTuple):
    """Codes that stand still.

    Attributes:
        codes (Tensor): a row of -1 for padding, then one an item, shape: [n_items, L], int64.
        codebook_sizes (list of int): codes that each level may choose from, shape: [L].
        source (str or None): the vectors behind them, None where there are none.
        is_known (Tensor): False where an item's vector is zero and its codes say nothing; items of a bundle count as
            known, shape: [n_items], bool.
        is_appended (bool): whether the last level numbers the items of an ID (collisions 'append').
    """

    codes: torch.Tensor
    codebook_sizes: list
    source: Optional[str]
    is_known: torch.Tensor
    is_appended: bool = False


def has_fixed_codes(config):
    """Whether the config's codes stand still: its tokenizer is not trained along, or they are out of a bundle."""
    return bool(config["semantic_ids"]) or not TOKENIZERS[config["tokenizer"]].is_trained


def fixed_codes(config, dataset) -> FixedCodes:
    """Codes of a dataset's items by the tokenizer that the config names, or out of a bundle.

    Args:
        config (Config): ours: tokenizer and its keys, semantic_ids, collisions.
        dataset (Dataset): RecBole's, the training part.

    Returns:
        FixedCodes: of the items, cold ones included; nothing is learned from those.

    Raises:
        ValueError: the bundle lacks items or was learned from cold ones, or an option does not fit the tokenizer.
        FileNotFoundError: there is no such bundle.
    """
    if config["semantic_ids"]:
        if config["split"] == "cold_items":
            raise ValueError(
                f"semantic_ids={config['semantic_ids']} were learned from cold items too: use --tokenizer=NAME with "
                f"split=cold_items, which is fitted on the warm ones"
            )
        items = [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]
        codes, sizes, source, is_known, is_appended = _from_bundle(config["semantic_ids"], items)
        if len(codes.unique(dim=0)) < len(codes):  # of a bundle whose IDs are unique nothing is left to resolve
            resolved = resolve(config["collisions"], codes, items, None)
            is_appended = is_appended or resolved.shape[1] > len(sizes)
            sizes = [*sizes, *(resolved[:, len(sizes) :].amax(dim=0) + 1).tolist()]
            codes = resolved
    else:
        codes, sizes, source, is_known = _from_tokenizer(config, dataset)
        is_appended = config["collisions"] == "append"
    codes = torch.cat([codes.new_full((1, codes.shape[1]), -1), codes])
    return FixedCodes(codes, sizes, source, torch.cat([is_known.new_zeros(1), is_known]), is_appended)


def _from_bundle(folder, items):
    semantic_ids = SemanticIds.load(folder)
    missing = [item for item in items if item not in semantic_ids.row]
    if missing:
        raise ValueError(
            f"semantic_ids={folder} lacks {len(missing)} of {len(items)} items, {missing[0]!r} first: make it of this "
            f"dataset by unirep tokenize"
        )
    rows = [semantic_ids.row[item] for item in items]
    record = read_record(folder)
    source = " + ".join(record.get("vectors", ())) or None
    codes = torch.from_numpy(semantic_ids.codes[rows])
    is_known, is_appended = torch.ones(len(codes), dtype=torch.bool), is_numbered(record)
    return codes, semantic_ids.codebook_sizes, source, is_known, is_appended


class FittedCodes(NamedTuple):
    """A tokenizer fitted on a dataset's items, and their codes.

    Attributes:
        tokenizer (SemanticTokenizer or AssignedTokenizer): fitted.
        settings (dict): keys of the tokenizer, and text_dim where it reads vectors.
        catalogue (Catalogue): the items and what is known of them.
        codes (CatalogueCodes): theirs.
    """

    tokenizer: Any
    settings: dict
    catalogue: Catalogue
    codes: CatalogueCodes


def fit_tokenizer(config, dataset) -> FittedCodes:
    """Fits the tokenizer that the config names on the items that take part in training; arguments as `fixed_codes`."""
    name, further = config["tokenizer"], []
    if is_collaborative(name):
        further = [(GRAPH, graph(dataset, config["collaborative_dim"], config["seed"]))]
    catalogue = load_catalogue(config, dataset, name, further)
    text_dim = catalogue.known.shape[1] if reads_vectors(name) else None
    learned = catalogue.to_learn_from()
    tokenizer = make_tokenizer(name, config, text_dim, len(learned) if text_dim else None).fit(learned)
    codes = catalogue_codes(tokenizer, catalogue.known, catalogue.items, config["collisions"])
    settings = {**{key: config[key] for key in shipped_defaults(name)}, **({"text_dim": text_dim} if text_dim else {})}
    return FittedCodes(tokenizer, settings, catalogue, codes)


def _from_tokenizer(config, dataset):
    _, _, catalogue, codes = fit_tokenizer(config, dataset)
    if not reads_vectors(config["tokenizer"]):
        return codes.resolved, codes.codebook_sizes, None, torch.ones(len(codes.resolved), dtype=torch.bool)
    return codes.resolved, codes.codebook_sizes, " + ".join(catalogue.vectors), catalogue.known.any(dim=-1)
