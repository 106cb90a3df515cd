"""One side of the decoding benchmark: decodes the top semantic IDs for some users and prints one JSON line.

    python benchmarks/decoding_side.py SIDE --data_path=FOLDER --out=FILE.npz --n_users=64 --num_beams=20 --form=FORM
        --users_at_once=16 --histories=HISTORIES

All sides run the same untrained T5 of TIGER's size on Amazon Beauty's IDs (training does not change the cost), for the
same validation users, batched by history length, with the same number of beams.

Forms: encoder_decoder, as in the paper; decoder_only, one stack that reads the history and continues with the ID.
Sides: ours; huggingface, `generate` with `prefix_allowed_tokens_fn`; all_items, our decoder, but each prefix
plus next code is checked against all items' IDs, as in GRID and RQ-VAE-Recommender.
Histories: all, of every user; full, only of users with at least the 20 items that TIGER reads.

Memory is sampled in a first pass over the users; a second pass is timed.
"""

import numpy as np
import torch
from measure import arguments, more_memory, report, timed
from recbole.utils import init_seed
from their_generate import HuggingFace

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.generation.beam_search import beam_search
from recbole_unirep.model.build import build_model, trains_rows

PREFIXES_AT_ONCE = 2_000


def main(side, data_path, out, n_users, n_beams, form, users_at_once, histories):
    keys = {"data_path": data_path, "text_encoder": "minilm", "topk": [n_beams], "num_beams": n_beams}
    if form == "decoder_only":
        keys |= {"decoder_only": True, "training_rows": "user"}
    config = Config("TIGER", "amazon-beauty", config_dict={**keys, "use_gpu": False, "show_progress": False})
    init_seed(config["seed"], config["reproducibility"])
    data = load_data(config, trains_rows(config))
    model = build_model(config, data.train).eval()
    search = SIDES[side](model, n_beams)
    batches = [data.valid.interactions[rows] for rows in data.valid.batches(users_at_once)]  # short histories first
    if histories == "full":
        longest = config["MAX_ITEM_LIST_LENGTH"]
        batches = [batch for batch in batches if int(batch[model.ITEM_SEQ_LEN].min()) == longest]
    step = max(1, len(batches) * users_at_once // n_users)
    batches = batches[step // 2 :: step]
    search(batches[0])
    _, more = more_memory(lambda: [search(batch) for batch in batches])
    found, seconds = timed(lambda: [search(batch) for batch in batches])
    ids, scores = (torch.cat(part) for part in zip(*found))
    np.savez(out, ids=ids.numpy(), scores=scores.numpy())
    report(
        seconds=seconds,
        more_bytes=more,
        n_users=sum(map(len, batches)),
        n_beams=n_beams,
        n_levels=model.ids.n_levels,
        n_items=model.n_items - 1,
        mean_history=float(torch.cat([batch[model.ITEM_SEQ_LEN] for batch in batches]).float().mean()),
    )


class Ours:
    """Beam search over the trie."""

    def __init__(self, model, n_beams):
        self.model, self.n_beams, self.trie = model, n_beams, model.ids.trie

    @torch.no_grad()
    def __call__(self, batch):
        """Returns the codes of the beams [B, n, V] and their log-likelihoods [B, n]."""
        leaf, score = beam_search(self.model.transformer.decoder(self.model.memory_of(batch)), self.trie, self.n_beams)
        return self.trie.ids[leaf], score


class AllItems:
    """Beam search that checks each prefix plus next code against all items' IDs."""

    def __init__(self, model, n_beams):
        self.model, self.n_beams, self.ids = model, n_beams, model.ids.codes[1:]

    @torch.no_grad()
    def __call__(self, batch):
        decoder = self.model.transformer.decoder(self.model.memory_of(batch))
        logits = decoder.start()
        score = logits.new_zeros(logits.shape[:2])
        prefix = torch.empty(*score.shape, 0, dtype=torch.int64)
        for level, size in enumerate(self.model.ids.codebook_sizes):
            own = prefix[:, :, None].expand(-1, -1, size, -1)
            code = torch.arange(size).expand(*own.shape[:3])[..., None]
            longer = torch.cat([own, code], dim=-1).flatten(1, 2)  # [B, n * K, level + 1]
            log_p = (score[..., None] + logits.log_softmax(dim=-1)).flatten(1)
            log_p = log_p.masked_fill(~self._exist(longer.flatten(0, 1)).view_as(log_p), -torch.inf)
            score, place = log_p.topk(min(self.n_beams, log_p.shape[1]), dim=1)
            prefix = longer.gather(1, place[..., None].expand(-1, -1, level + 1))
            if level + 1 < len(self.model.ids.codebook_sizes):
                logits = decoder.step(place // size, prefix[..., -1])
        return prefix, score

    def _exist(self, prefixes):
        begun = self.ids[:, : prefixes.shape[1]]
        parts = prefixes.split(PREFIXES_AT_ONCE)
        return torch.cat([(part[:, None] == begun).all(dim=-1).any(dim=-1) for part in parts])


SIDES = {"ours": Ours, "huggingface": HuggingFace, "all_items": AllItems}

if __name__ == "__main__":
    side, options = arguments()
    numbers = [int(options[key]) for key in ("n_users", "num_beams")]
    main(
        side,
        options["data_path"],
        options["out"],
        *numbers,
        options["form"],
        int(options["users_at_once"]),
        options["histories"],
    )
