r"""recbole_unirep.modules.item_embedding: [semantic embedding ; ID embedding] as one table.

Reference:
    Lin et al. "Unified Semantic and ID Representation Learning for Deep Recommenders." arXiv 2502.16474, section 3.1.

It stands where a RecBole model has its `item_embedding`: it answers a call on ids and `.weight`, and has further rows
for special tokens. Within `step` every row is encoded at most once.
"""

import math
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

from recbole_unirep.modules.cold_ids import nearest_items
from recbole_unirep.modules.representation import REPRESENTATIONS, EncodedItems


class UnifiedItemEmbedding(nn.Module):
    """Item table s = [z_hat ; e], a drop-in for `nn.Embedding(n_items, H, padding_idx=0)`.

    Args:
        n_items (int): number of item ids, padding included.
        n_special (int): further rows for special tokens such as BERT4Rec's mask: learned, without text.
        representation (str): a key of REPRESENTATIONS.
        tokenizer (RQVAE or None): gives semantic embeddings of text; None for representation 'id' and frozen codes.
        text (Tensor or None): item text embeddings, row 0 pads, shape: [n_items, text_dim], float32.
        id_dim (int): dimensions of the ID embedding.
        fusion (nn.Module): makes embeddings [M, hidden_size] of the parts side by side.
        hidden_size (int): size of an embedding.
        init_std (float): standard deviation of ID and special rows at the start.
        code_embedding (CodeEmbedding or None): gives semantic embeddings of codes that stand still.
        gradient_share (float): share of the items that a step over the whole table does not read through which its
            gradient goes to the encoder, above 0 and at most 1.
        n_training_items (int or None): number of item ids that are trained, padding included; later ones are cold.
            None: all.
        cold_id (str): what stands for a cold item's ID embedding, a name in COLD_IDS.
    """

    def __init__(
        self,
        *,
        n_items,
        n_special,
        representation,
        tokenizer,
        text,
        id_dim,
        fusion,
        hidden_size,
        init_std,
        code_embedding=None,
        gradient_share=1.0,
        n_training_items=None,
        cold_id="mean",
    ):
        super().__init__()
        self.has_semantic, self.has_codes, self.has_id = REPRESENTATIONS[representation]
        self.n_items, self.num_embeddings = n_items, n_items + n_special
        self.n_training_items = n_training_items or n_items
        self.gradient_share, self.embedding_dim = gradient_share, hidden_size
        self.tokenizer = tokenizer if self.has_semantic else None
        self.code_embedding = code_embedding if self.has_semantic else None
        self.register_buffer("item_text_embedding", text if self.has_semantic else None)
        self.id_embedding = nn.Embedding(n_items - 1, id_dim) if self.has_id else None  # padding has no row
        self.fusion = fusion
        self.cold_id = cold_id if self.has_id and self.n_training_items < n_items else None
        if self.cold_id == "nearest":
            self.register_buffer("nearest_item", nearest_items(text, self.n_training_items), persistent=False)
        self.special = nn.Parameter(torch.empty(n_special, self.embedding_dim).normal_(std=init_std))
        if self.has_id:
            nn.init.normal_(self.id_embedding.weight, std=init_std)
        self.added = None  # AddedRows of new items, with which the table is for ranking alone
        self._step = None  # while one lasts: table, the row of each id, whether it is the whole one
        self._kept = None  # outside of training: versions, table, encoded items
        self._directions = None  # encoded items, their directions
        self._text = None  # versions, scaled text

    @property
    def n_table_parameters(self):
        """Learned numbers addressed by item or by code; padding and special rows not counted (the paper's Table 5)."""
        n_codes = 0
        if self.code_embedding is not None:
            n_codes = self.code_embedding.n_parameters
        elif self.has_codes:
            n_codes = self.tokenizer.quantizer.codebooks.numel()
        return n_codes + (self.id_embedding.weight.numel() if self.has_id else 0)

    @property
    def codebook_sizes(self):
        """Codes that each level may choose from."""
        return (self.code_embedding or self.tokenizer).codebook_sizes

    def forward(self, ids):
        """Embeddings of item or special-token ids.

        Args:
            ids (Tensor): any shape, int64; 0 gives zeros.

        Returns:
            Tensor: shape: [*ids.shape, H].
        """
        if self.added is not None:
            return F.embedding(ids, self.added.weight)
        if self._step is not None:
            table, row, _ = self._step
            return F.embedding(ids if row is None else row[ids], table)
        if self._can_keep():
            return F.embedding(ids, self.weight)
        with self.step(ids):
            return self(ids)

    @property
    def weight(self):
        """The whole table: padding, items, special tokens, shape: [n_items + n_special, H].

        Within a step over the whole table it is that of the step, whose items are those that are trained.
        """
        if self.added is not None:
            return self.added.weight
        if self._step is not None and self._step[2]:
            return self._step[0]
        if not self._can_keep():
            return self._assemble(self._encode(self._items(self.n_items)))[0]
        return self._keep()[1]

    @torch.no_grad()
    def directions(self, ids):
        """By what items are alike: their semantic embeddings, where there are none their ID embeddings, centred.

        Centred by the mean of the items that are trained; no gradient goes through it. A cold item has none where its
        ID embedding is no more than a mean or zeros.

        Args:
            ids (Tensor): item ids, any shape, int64; 0 gives zeros.

        Returns:
            Tensor: of length 1, or zeros, float32, shape: [*ids.shape, D].
        """
        if self.added is not None:
            return F.embedding(ids, self.added.directions)
        encoded, n_trained = self._keep()[2], self.n_training_items - 1
        if self._directions is None or self._directions[0] is not encoded:
            vectors = (encoded.rows if encoded.semantic is None else encoded.semantic).float()
            unit = F.normalize(vectors - vectors[:n_trained].mean(dim=0), dim=-1)
            if encoded.semantic is None and self.cold_id in ("mean", "zero"):
                unit[n_trained:] = 0
            self._directions = encoded, torch.cat([unit.new_zeros(1, unit.size(1)), unit])
        return F.embedding(ids, self._directions[1])

    @contextmanager
    def step(self, ids=None, read=None):
        """Encodes the distinct items among `ids`, or all, once; calls within the block share them.

        Args:
            ids (Tensor or None): item and special-token ids in use, any shape; None for the whole table of the items
                that are trained.
            read (Tensor or None): with the whole table, ids whose gradient reaches the encoder whatever
                `gradient_share` is, any shape, int64; None for all.

        Yields:
            EncodedItems: the encoded items.
        """
        if ids is None:
            items = self._items(self.n_training_items)
        else:
            items = torch.unique(ids[(ids > 0) & (ids < self.n_items)])
        encoded = self._encode(items, read)
        self._step = *self._assemble(encoded), ids is None
        try:
            yield encoded
        finally:
            self._step = None

    @torch.no_grad()
    def codes(self):
        """Codes of every item, padding left out, shape: [n_items - 1, n_levels], int64."""
        if self.code_embedding is not None:
            codes = self.code_embedding.codes[1:]
        else:
            codes = self.tokenizer.encode(self.item_text_embedding[1:])
        return codes if self.added is None else torch.cat([codes, self.added.codes])

    @property
    def encoded_items(self):
        """All items encoded, as they are kept outside of training, cold ones included (EncodedItems)."""
        return self._keep()[2]

    def _keep(self):
        """Versions of the tensors behind the table, the table and the encoded items, made anew when one changes."""
        versions = versions_of(self.state_dict(keep_vars=True).values())
        if self._kept is None or self._kept[0] != versions:
            encoded = self._encode(self._items(self.n_items))
            self._kept = versions, self._assemble(encoded)[0], encoded
        return self._kept

    def _items(self, end):
        return torch.arange(1, end, device=self.special.device)

    def _encode(self, items, read=None):
        parts, latent, semantic, codes = [], None, None, None
        is_table = len(items) >= self.n_training_items - 1 and int(items[-1]) == len(items)  # 1, 2, ... without a gap
        first = slice(1, 1 + len(items))
        if self.code_embedding is not None:
            semantic, codes = self.code_embedding(items)
            parts.append(semantic)
        elif self.has_semantic:
            text = self._scaled_text()
            if is_table and read is not None and self.gradient_share < 1 and torch.is_grad_enabled():
                latent = self._encode_all(text[first], read)
            else:
                latent = self.tokenizer.encoder(text[first] if is_table else text[items])  # [M, code_dim]
            latent = semantic = latent.to(text.dtype)
            if self.has_codes:
                with torch.autocast(text.device.type, enabled=False):  # rounded scores would choose other codes
                    semantic, codes = self.tokenizer.quantizer.quantize(latent)
            parts.append(semantic)
        if self.has_id:
            parts.append(self._id_rows(items, is_table))
        rows = self.fusion(torch.cat(parts, dim=-1))  # [M, code_dim + id_dim] -> [M, H]
        return EncodedItems(items, rows, latent, semantic, codes)

    def _id_rows(self, items, is_table):
        """ID embeddings, those of cold items replaced, shape: [M, id_dim].

        Args:
            items (Tensor): item ids in ascending order, shape: [M].
            is_table (bool): whether they are 1, 2, ... without a gap.
        """
        weight, end = self.id_embedding.weight, self.n_training_items - 1
        if self.cold_id in (None, "untrained") or not len(items) or int(items[-1]) <= end:
            is_slice = is_table and not self.id_embedding.sparse  # whose gradient would be dense
            return weight[: len(items)] if is_slice else self.id_embedding(items - 1)
        trained, n_cold = weight[:end], len(weight) - end
        if self.cold_id == "nearest":
            cold = trained[self.nearest_item]
        else:
            cold = (trained.mean(dim=0) if self.cold_id == "mean" else torch.zeros_like(weight[0])).expand(n_cold, -1)
        return torch.cat([trained, cold])[items - 1]

    def _encode_all(self, text, read):
        """The encoder's output of the items that are trained, its gradient estimated without bias from a part of them.

        Items that are read carry theirs, `gradient_share` of the others, drawn anew, theirs divided by the share.
        """
        is_read = torch.zeros(self.num_embeddings, dtype=torch.bool, device=text.device)
        is_read[read.reshape(-1)] = True
        is_read = is_read[1 : 1 + len(text)]
        others = (~is_read).nonzero()[:, 0]
        others = others[torch.randperm(len(others), device=text.device)]
        n_drawn = math.ceil(self.gradient_share * len(others))
        carriers = torch.cat([is_read.nonzero()[:, 0], others[:n_drawn]])
        latent = self.tokenizer.encoder(text[carriers])
        share = torch.ones(len(carriers), 1, dtype=latent.dtype, device=text.device)
        share[len(carriers) - n_drawn :] = n_drawn / max(len(others), 1)
        latent.register_hook(lambda gradient: gradient / share)
        with torch.no_grad():
            rest = self.tokenizer.encoder(text[others[n_drawn:]])
        order = torch.cat([carriers, others[n_drawn:]])
        return torch.cat([latent, rest])[torch.argsort(order)]

    @torch.no_grad()
    def _scaled_text(self):
        """All texts as the encoder reads them, made once and again when a tensor behind them changes."""
        tokenizer = self.tokenizer
        versions = versions_of((self.item_text_embedding, tokenizer.text_mean, tokenizer.text_deviation))
        if self._text is None or self._text[0] != versions:
            self._text = versions, tokenizer.scale_text(self.item_text_embedding)
        return self._text[1]

    def _assemble(self, encoded):
        """Table [1 + M + n_special, H] and the row of each id, None where ids are rows."""
        table = torch.cat([encoded.rows.new_zeros(1, self.embedding_dim), encoded.rows, self.special])
        if len(encoded.items) == self.n_items - 1:
            return table, None
        row = torch.zeros(self.num_embeddings, dtype=torch.int64, device=table.device)
        row[encoded.items] = 1 + torch.arange(len(encoded.items), device=table.device)
        row[self.n_items :] = 1 + len(encoded.items) + torch.arange(len(self.special), device=table.device)
        return table, row

    def _can_keep(self):
        """Whether the table may be kept: nothing is trained, so it changes only when a tensor does."""
        return not self.training and not torch.is_grad_enabled()


def versions_of(tensors):
    """What changes when one of the tensors does."""
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
