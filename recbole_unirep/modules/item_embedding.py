r"""recbole_unirep.modules.item_embedding: [semantic embedding ; ID embedding] as one table.

Reference:
    Lin et al. "Unified Semantic and ID Representation Learning for Deep Recommenders." arXiv 2502.16474, section 3.1.

It takes the place of a RecBole model's `item_embedding`: it can be called with ids, has `.weight`, and has further
rows for special tokens. Within `step` every row is encoded at most once.
"""

import math
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

from recbole_unirep.modules.cold_ids import cold_id_rows, nearest_items
from recbole_unirep.modules.representation import EncodedItems


class UnifiedItemEmbedding(nn.Module):
    """Item table s = [z_hat ; e], a drop-in for `nn.Embedding(n_items, H, padding_idx=0)`.

    Args:
        rows (ItemRows): items and special tokens.
        text (TextPart or None): semantic part of text, trained along; None for frozen codes or without semantic part.
        code_embedding (CodeEmbedding or None): semantic part of frozen codes.
        ids (IdPart or None): ID part.
        fusion (nn.Module): makes embeddings [M, hidden_size] of the concatenated parts.
        hidden_size (int): size of an embedding.
        init_std (float): standard deviation of the first ID and special rows.
    """

    def __init__(self, *, rows, text, code_embedding, ids, fusion, hidden_size, init_std):
        super().__init__()
        self.n_items, self.n_training_items, n_special = rows
        self.num_embeddings, self.embedding_dim = self.n_items + n_special, hidden_size
        self.tokenizer, item_text, self.gradient_share, self.trains_on_codes = text or (None, None, 1.0, True)
        self.code_embedding = code_embedding
        self.register_buffer("item_text_embedding", item_text)
        self.has_semantic, self.has_id = (text or code_embedding) is not None, ids is not None
        self.has_codes = code_embedding is not None or (text is not None and text.tokenizer.quantizer is not None)
        self.id_embedding = nn.Embedding(self.n_items - 1, ids.dim) if self.has_id else None  # padding has no row
        self.fusion = fusion
        self.id_dropout = ids.dropout if self.has_id else 0.0
        self.cold_id_of_new = ids.cold_id if self.has_id else None
        self.cold_id = ids.cold_id if self.has_id and self.n_training_items < self.n_items else None
        if self.cold_id == "nearest":
            self.register_buffer("nearest_item", nearest_items(item_text, self.n_training_items), persistent=False)
        self.special = nn.Parameter(torch.empty(n_special, self.embedding_dim).normal_(std=init_std))
        if self.has_id:
            nn.init.normal_(self.id_embedding.weight, std=init_std)
        self.added = None  # AddedRows of new items; the table then serves ranking alone
        self._step = None  # within a step: table, the row of each id, whether it is the whole table
        self._kept = None  # outside training: versions, table, encoded items
        self._directions = None  # encoded items, their directions
        self._text = None  # versions, scaled text

    @property
    def n_table_parameters(self):
        """Learned numbers addressed by item or by code, without padding and special rows (Table 5 of the paper)."""
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

        Within a step over the whole table it is the table of the step, which holds the trained items.
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
        """Unit vectors by which items are compared: their centred semantic embeddings, or else their ID embeddings.

        The mean of the trained items is the centre; no gradient passes. A cold item gets zeros if its ID embedding is
        only a mean or zeros.

        Args:
            ids (Tensor): item ids, any shape, int64; 0 gives zeros.

        Returns:
            Tensor: normalized or zeros, float32, shape: [*ids.shape, D].
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
        """Encodes the distinct items among `ids`, or all trained items, once; calls within the block share the result.

        Args:
            ids (Tensor or None): item and special-token ids in use, any shape; None for the whole table of the trained
                items.
            read (Tensor or None): with the whole table, ids whose gradient always reaches the encoder, whatever
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

    @torch.no_grad()
    def as_new(self, items):
        """Rows of the table that trained items would have if they were new, each without its own ID embedding.

        Args:
            items (Tensor): ids of trained items, shape: [M], int64.

        Returns:
            Tensor: shape: [M, H].
        """
        encoded, parts = self.encoded_items, []
        if encoded.semantic is not None:
            parts.append(encoded.semantic[items - 1])
        if self.has_id:
            kind = "mean" if self.cold_id_of_new == "untrained" else self.cold_id_of_new
            is_other = torch.ones(self.n_training_items, dtype=torch.bool, device=items.device)
            is_other[0] = is_other[items] = False
            others, nearest = is_other.nonzero()[:, 0], None
            if kind == "nearest":
                text = self.item_text_embedding[torch.cat([others[:1], others, items])]  # the first row is not read
                nearest = nearest_items(text, 1 + len(others))
            parts.append(cold_id_rows(kind, self.id_embedding.weight[others - 1], len(items), nearest))
        return self.fusion(torch.cat(parts, dim=-1))

    def add_items(self, new, needs_directions):
        """Appends new items; the table only ranks from then on. Arguments as in AddedRows."""
        self.added = AddedRows(self, new, needs_directions)

    @property
    def encoded_items(self):
        """All items, cold ones included, as encoded and kept outside training (EncodedItems)."""
        return self._keep()[2]

    def _keep(self):
        """Versions of the tensors behind the table, the table and the encoded items, updated when a tensor changes."""
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
            if self.has_codes and (self.trains_on_codes or not self.training):
                with torch.autocast(text.device.type, enabled=False):  # rounded scores would choose other codes
                    semantic, codes = self.tokenizer.quantizer.quantize(latent)
            parts.append(semantic)
        if self.has_id:
            id_rows = self._id_rows(items, is_table)
            if self.id_dropout and self.training:
                id_rows = id_rows * (torch.rand(len(items), 1, device=items.device) >= self.id_dropout)
            parts.append(id_rows)
        rows = self.fusion(torch.cat(parts, dim=-1))  # [M, code_dim + id_dim] -> [M, H]
        return EncodedItems(items, rows, latent, semantic, codes)

    def _id_rows(self, items, is_table):
        """ID embeddings, with replacements for cold items, shape: [M, id_dim].

        Args:
            items (Tensor): item ids in ascending order, shape: [M].
            is_table (bool): whether they are 1, 2, ... without a gap.
        """
        weight, end = self.id_embedding.weight, self.n_training_items - 1
        if self.cold_id in (None, "untrained") or not len(items) or int(items[-1]) <= end:
            is_slice = is_table and not self.id_embedding.sparse  # whose gradient would be dense
            return weight[: len(items)] if is_slice else self.id_embedding(items - 1)
        nearest = self.nearest_item if self.cold_id == "nearest" else None
        cold = cold_id_rows(self.cold_id, weight[:end], len(weight) - end, nearest)
        return torch.cat([weight[:end], cold])[items - 1]

    def _encode_all(self, text, read):
        """The encoder's output for the trained items, with an unbiased gradient estimated from a part of them.

        Items that are read pass on their gradient. A fraction `gradient_share` of the other items, resampled each step,
        pass on their gradient divided by the fraction.
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
        """All texts as the encoder reads them, computed again only when a tensor behind them changes."""
        versions = versions_of((self.item_text_embedding, *self.tokenizer.text_statistics))
        if self._text is None or self._text[0] != versions:
            self._text = versions, self.tokenizer.scale_text(self.item_text_embedding)
        return self._text[1]

    def _assemble(self, encoded):
        """Table [1 + M + n_special, H] and the row of each id, None if ids are the rows."""
        table = torch.cat([encoded.rows.new_zeros(1, self.embedding_dim), encoded.rows, self.special])
        if len(encoded.items) == self.n_items - 1:
            return table, None
        row = torch.zeros(self.num_embeddings, dtype=torch.int64, device=table.device)
        row[encoded.items] = 1 + torch.arange(len(encoded.items), device=table.device)
        row[self.n_items :] = 1 + len(encoded.items) + torch.arange(len(self.special), device=table.device)
        return table, row

    def _can_keep(self):
        """Whether the table may be kept: outside training it changes only when a tensor does."""
        return not self.training and not torch.is_grad_enabled()


def versions_of(tensors):
    """A value that changes whenever one of the tensors does."""
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)


class AddedRows(nn.Module):
    """A finished item table followed by new items, `UnifiedItemEmbedding.added`; no part of a checkpoint.

    Attributes:
        weight (Tensor): rows of the table's items, of the new ones, of special tokens, shape: [N + M + n_special, H].
        directions (Tensor or None): of all items, row 0 pads, shape: [N + M, code_dim].
        codes (Tensor or None): of the new items, shape: [M, L], int64.

    Args:
        table (UnifiedItemEmbedding): in evaluation mode.
        new (NewItems): M items, which get the ids N to N + M - 1.
        needs_directions (bool): whether ranking asks for `directions`.
    """

    @torch.no_grad()
    def __init__(self, table, new, needs_directions):
        super().__init__()
        own, first, directions = table.weight, table.n_items, None
        if needs_directions:
            directions = table.directions(torch.arange(first, device=own.device))
            directions = torch.cat([directions, new.directions.to(directions)])
        weight = torch.cat([own[:first], new.rows.to(own), own[first:]])
        codes = None if new.codes is None else new.codes.to(own.device)
        for name, part in {"weight": weight, "directions": directions, "codes": codes}.items():
            self.register_buffer(name, part, persistent=False)
