r"""UniRep: a RecBole sequential model over [semantic embedding ; ID embedding], trained end to end.

Reference:
    Lin et al. "Unified Semantic and ID Representation Learning for Deep Recommenders." arXiv 2502.16474.

The paper trains with one negative a position (equation 2); the default here is the softmax over all items, as
RecBole's SASRec has it. `--preset=paper` is the paper's recipe.
"""

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import nn
from torch.nn import functional

from recbole_unirep import parallel
from recbole_unirep.analysis.codebook import codebook_report
from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.model.backbone import LocalConvolution, make_backbone
from recbole_unirep.model.score_bias import LEARNED, RANKING, ScoreBias
from recbole_unirep.model.unirep_options import check_options, hidden_size, item_pieces
from recbole_unirep.modules.code_embedding import CodeEmbedding
from recbole_unirep.modules.codebook_steps import move_codebooks
from recbole_unirep.modules.fusion import make_fusion
from recbole_unirep.modules.item_embedding import UnifiedItemEmbedding
from recbole_unirep.modules.representation import REPRESENTATIONS, IdPart, ItemRows, TextPart
from recbole_unirep.scoring.model_contract import sequence_states
from recbole_unirep.semantic_ids.frozen_codes import FITTED, frozen_codes, has_frozen_codes
from recbole_unirep.tokenizer import make_tokenizer
from recbole_unirep.training.losses import PAIRWISE, recommendation_loss
from recbole_unirep.training.softmax import cross_entropy


class UniRep(SequentialRecommender):
    """Unified semantic and ID representation over a sequential backbone.

    Args:
        config (Config): RecBole's or ours, keys of properties/model/UniRep.yaml, its tokenizer's and its backbone's.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: an option that is not in its range, or a loss that the backbone cannot take.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        check_options(config)
        self.backbone_name = config["backbone"]
        self.loss_type = config["loss_type"]
        self.quantization_items = config["quantization_items"]
        self.quantization_weighting = config["quantization_weighting"]
        self.dead_code_steps = config["dead_code_steps"]

        has_semantic, self.has_codes, has_id = REPRESENTATIONS[config["representation"]]
        is_frozen = has_semantic and has_frozen_codes(config)
        is_encoded = has_semantic and not is_frozen
        uses = {"recommendation": True, "quantization": is_encoded and self.has_codes, "reconstruction": is_encoded}
        self.loss_names = [name for name, used in uses.items() if used]
        self.loss_weights = [config[f"{name}_weight"] for name in self.loss_names]
        self.n_training_items = n_training_items(dataset)
        tokenizer = text = code_embedding = self.text_encoder = None
        semantic_dim = config["code_embedding_size" if has_frozen_codes(config) else "code_dim"]
        if is_frozen:
            frozen = frozen_codes(config, dataset)
            self.register_buffer("has_text", frozen.is_known)
            pieces = item_pieces(config, frozen, self.n_training_items, dataset)
            sizes = frozen.codebook_sizes
            code_embedding = CodeEmbedding(frozen.codes, sizes, semantic_dim, config["id_init_std"], pieces)
            self.text_encoder, self.fitted_codes = frozen.source, {FITTED: frozen.fitted}
        elif has_semantic:
            item_text = load_item_text(config, dataset)
            self.text_encoder, text = item_text.encoder, item_text.vectors
            has_text = text.any(dim=-1)
            is_read = has_text & (torch.arange(len(text)) < self.n_training_items)
            n_read = int(is_read.sum()) if self.has_codes else None
            tokenizer = make_tokenizer(config["tokenizer"], config, text.shape[1], n_read)
            if not self.has_codes:
                tokenizer = tokenizer.without_quantizer()
            tokenizer.initialise(text[is_read], config["seed"])
            text = torch.where(has_text[:, None], text, tokenizer.text_mean)  # scaled, the mean is a zero vector
            self.register_buffer("has_text", has_text)
        id_dim = config["id_embedding_size"] if has_semantic else semantic_dim
        width = (semantic_dim if has_semantic else 0) + (id_dim if has_id else 0)
        size = hidden_size(config, width)

        self.backbone = make_backbone(self.backbone_name, config, dataset, size)
        n_special = self.backbone.item_embedding.num_embeddings - self.n_items
        self.backbone.item_embedding = UnifiedItemEmbedding(
            rows=ItemRows(self.n_items, self.n_training_items, n_special),
            text=None if text is None else TextPart(tokenizer, text, config["table_gradient_share"]),
            code_embedding=code_embedding,
            ids=IdPart(id_dim, config["cold_id_embedding"]) if has_id else None,
            fusion=make_fusion(config["fusion"], width, size, config["fusion_hidden_units"], config["similarity"]),
            hidden_size=size,
            init_std=config["id_init_std"],
        )
        if config["local_convolution"]:
            self.backbone.local_convolution = LocalConvolution(size, config["local_convolution"])
        self.output_projection = nn.Linear(size, size) if config["output_projection"] else None
        self.temperature = config["temperature"] if config["similarity"] == "cosine" else None
        has_bias = any(config[key] for key in (*LEARNED, *RANKING))
        self.score_bias = ScoreBias(config, dataset, self._directions) if has_bias else None
        if tokenizer is not None and self.has_codes and self.dead_code_steps:
            self.register_buffer("code_is_used", torch.zeros(tokenizer.quantizer.codebooks.shape[:2], dtype=torch.bool))
            self.register_buffer("n_steps_counted", torch.zeros((), dtype=torch.int64))

    @property
    def item_embedding(self):
        """The item table."""
        return self.backbone.item_embedding

    @property
    def sequence_states(self):
        """Function from item ids [B, L] to states [B, L, H]; None where the backbone is not causal."""
        states = sequence_states(self.backbone)
        return states and (lambda item_seq: self._to_score(states(item_seq)))

    @property
    def item_table_parameters(self):
        """Learned numbers addressed by item or by code (the paper's Table 5)."""
        return self.item_embedding.n_table_parameters

    @property
    def n_ema_parameters(self):
        """Learned numbers that no gradient moves: codebooks under codebook_update 'ema'."""
        tokenizer = self.item_embedding.tokenizer
        if tokenizer is None or not self.has_codes or tokenizer.quantizer.codebooks.requires_grad:
            return 0
        return tokenizer.quantizer.codebooks.numel()

    def calculate_loss(self, interaction):
        """Losses of one of RecBole's batches, by the backbone's own objective.

        Returns:
            tuple[Tensor, ...]: weighted recommendation, quantization and reconstruction loss, those that the
            representation has, shape: [] each.

        Raises:
            ValueError: the loss is the sampled softmax, which rows of users have.
        """
        in_use = torch.cat([interaction[field].reshape(-1) for field in self._id_fields() if field in interaction])
        if self.loss_type == "SSM":
            raise ValueError("loss_type=SSM shares negatives among rows of users: use training_rows=user, or CE or BPR")
        read = torch.cat([interaction[self.ITEM_SEQ].reshape(-1), interaction[self.POS_ITEM_ID]])
        in_use, read = map(parallel.joined, (in_use, read))  # what belongs to items every process computes alike
        with self.item_embedding.step(in_use if self._needs_few_items() else None, read) as encoded:
            own = self._has_own_products() or self._learned_bias is not None
            if self.loss_type == "BCE" or own:  # RecBole's own losses know neither
                recommendation = self._last_position_loss(interaction)
            else:
                recommendation = self.backbone.calculate_loss(interaction)
            return self._all_losses(recommendation, encoded, read)

    def row_losses(self, batch):
        """Losses of one batch of training rows, all positions at once.

        Args:
            batch (RowBatch): rows of a causal backbone.

        Returns:
            tuple[Tensor, ...]: as `calculate_loss`.
        """
        read = torch.cat([batch.inputs.reshape(-1), batch.targets])
        in_use = torch.cat([read, batch.negatives])
        with self.item_embedding.step(in_use if self._needs_few_items() else None, read) as encoded:
            recommendation = recommendation_loss(
                batch,
                self.sequence_states,
                self.item_embedding,
                self.n_training_items,
                self.loss_type,
                self._learned_bias,
            )
            return self._all_losses(recommendation, encoded, read)

    def predict(self, interaction):
        if not self._has_own_products() and self.score_bias is None:
            return self.backbone.predict(interaction)
        item = interaction[self.ITEM_ID]
        scores = (self._last_state(interaction) * self.item_embedding(item)).sum(dim=-1)
        if self.score_bias is None:
            return scores
        additions, features = self.score_bias(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN] - 1)
        row = torch.arange(len(item), device=item.device)
        if additions is not None:
            scores = scores + additions.of(row, item)
        return scores if features is None else scores + features.pairs(row, item).to(scores.dtype)

    def full_sort_predict(self, interaction):
        if not self._has_own_products() and self.score_bias is None:
            return self.backbone.full_sort_predict(interaction)
        scores = self._last_state(interaction) @ self.item_embedding.weight[: self.n_items].T
        if self.score_bias is None:
            return scores
        additions, features = self.score_bias(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN] - 1)
        if additions is not None:
            scores = scores.index_put((additions.position, additions.item), additions.value, accumulate=True)
        if features is None:
            return scores
        items = torch.arange(self.n_items, device=scores.device)
        return scores + features.block(items).to(scores.dtype)

    def codebook_report(self):
        """Usage and perplexity of each level, unique_item_coverage and collision_rate, over all items.

        Returns:
            dict[str, float]: empty where the representation has no codes.
        """
        if not self.has_codes:
            return {}
        return codebook_report(self.item_embedding.codes().cpu().numpy(), self.item_embedding.codebook_sizes)

    def _id_fields(self):
        masked = [getattr(self.backbone, name, None) for name in ("MASK_ITEM_SEQ", "POS_ITEMS", "NEG_ITEMS")]
        return [self.ITEM_SEQ, self.POS_ITEM_ID, self.NEG_ITEM_ID, *filter(None, masked)]

    def _needs_few_items(self):
        """Whether a step reads the items of its batch alone; Caser's regularizer reads the whole table."""
        return self.loss_type != "CE" and self.quantization_items == "batch" and self.backbone_name != "Caser"

    def _to_score(self, states):
        """What of the backbone's states [..., H] an item's embedding meets."""
        if self.output_projection is not None:
            states = self.output_projection(states)
        return states if self.temperature is None else functional.normalize(states, dim=-1) / self.temperature

    def _has_own_products(self):
        """Whether the products of state and item are not RecBole's own of the backbone."""
        own = (self.output_projection, self.temperature, getattr(self.backbone, "local_convolution", None))
        return any(part is not None for part in own)

    def _directions(self, ids):
        """By what items are alike; those without text are like none."""
        directions = self.item_embedding.directions(ids)
        return directions * self.has_text[ids][..., None] if hasattr(self, "has_text") else directions

    @property
    def _learned_bias(self):
        """What training adds to scores, None where nothing."""
        return self.score_bias.learned if self.score_bias is not None and self.score_bias.is_learned else None

    def _last_state(self, interaction):
        """What an item's embedding meets, shape: [B, H]."""
        item_seq, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        if self.sequence_states is None:
            return self.backbone.forward(item_seq, length)
        return self.sequence_states(item_seq)[torch.arange(len(length), device=length.device), length - 1]

    def _last_position_loss(self, interaction):
        state, target = self._last_state(interaction), interaction[self.POS_ITEM_ID]
        if self.loss_type == "CE":
            added = None
            if self._learned_bias is not None:
                length, row = interaction[self.ITEM_SEQ_LEN], torch.arange(len(target), device=target.device)
                rows = functional.pad(interaction[self.ITEM_SEQ], (0, 1)).scatter(1, length[:, None], target[:, None])
                scored = torch.arange(1, self.n_items, device=target.device)
                added = self._learned_bias(rows, row, length - 1).among(target, scored)
            return cross_entropy(state, self.item_embedding.weight[1 : self.n_items], target - 1, added)
        positive = (state * self.item_embedding(target)).sum(dim=-1)
        negative = (state * self.item_embedding(interaction[self.NEG_ITEM_ID])).sum(dim=-1)
        return PAIRWISE[self.loss_type](positive, negative)

    def _all_losses(self, recommendation, encoded, read):
        """Algorithm 1's losses beside the recommendation loss, weighted."""
        losses = [recommendation]
        if encoded.latent is not None:
            row, weight = self._carriers(encoded.items, read)
            table, tokenizer = self.item_embedding, self.item_embedding.tokenizer
            if encoded.codes is not None:
                loss = tokenizer.quantizer.losses(encoded.latent.index_select(0, row), encoded.codes[row])
                losses.append((loss * weight).sum())
                if self.training:
                    move_codebooks(self, encoded)
            text = table.item_text_embedding[encoded.items[row]]
            loss = tokenizer.reconstruction_loss(text, encoded.semantic.index_select(0, row))
            losses.append((loss * weight).sum())
        return tuple(weight * loss for weight, loss in zip(self.loss_weights, losses))

    def _carriers(self, encoded_items, read):
        """Rows of the encoded items that carry Algorithm 1's losses and their weights, which sum to 1."""
        items, count = encoded_items, torch.ones_like(encoded_items)
        if self.quantization_items == "batch":
            items, count = torch.unique(read[read > 0], return_counts=True)
        weight = count.float() if self.quantization_weighting == "occurrence" else torch.ones_like(count).float()
        weight = weight * self.has_text[items]  # no text, nothing to quantize
        return torch.searchsorted(encoded_items, items), weight / weight.sum().clamp(min=1)
