"""GRPO: TIGER fine-tuned by reinforcement learning, from the checkpoint of its next-token training.

Reference:
    Xiaoyu Kong et al. "MiniOneRec: An Open-Source Framework for Scaling Generative Recommendation", arXiv:2510.24431
        (beams as rollouts, rule and ranking reward; there for a language model).
    Zhihong Shao et al. "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models",
        arXiv:2402.03300, equations 3 and 4 (group relative policy optimization).

For each training target, the policy's beams form a group of IDs, each the ID of an item. The target's ID earns 1.
In a group that holds the target, the others are penalized, higher ranks more: the ID at rank r by 1 / log(r + 1),
divided by the sum over the whole group (as ndcg_rule_reward in the authors' code). A group without the target teaches
nothing. The advantage of an ID is its reward in standard deviations from the group's mean.

Each step directly follows its beams, so the ratio of new and old policy is 1 and nothing is clipped. The divergence
from the policy that training began with is penalized. Dropout is off.

Shapes: B targets, G IDs of a group, V levels.
"""

import copy
from pathlib import Path

import torch
from torch import Tensor

from recbole_unirep.generation.beam_search import beam_search
from recbole_unirep.generation.likelihood import code_log_likelihoods
from recbole_unirep.model.autoregressive import AutoregressiveRecommender
from recbole_unirep.runs.folder import BEST
from recbole_unirep.semantic_ids.frozen_codes import has_kept, of_run
from recbole_unirep.training.checkpoint import load


class GRPO(AutoregressiveRecommender):
    """TIGER's network trained as a policy; it ranks as TIGER does.

    Args:
        config (Config): ours; keys of properties/model/GRPO.yaml and TIGER.yaml and its tokenizer's, which must equal
            the keys of the run that it starts from.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: an option is out of its range.
    """

    base_settings = ("TIGER",)
    loss_names = ("policy", "divergence")

    def __init__(self, config, dataset):
        if config["initial_run"] is None:
            raise ValueError("initial_run is not given: train TIGER and name its folder, --initial_run=RUN")
        super().__init__(config if has_kept(config) else of_run(config, str(config["initial_run"])), dataset)
        if config["training_rows"] != "target":
            raise ValueError(
                f"training_rows={config['training_rows']} has several targets in a row, and each needs beams of its "
                f"own: use training_rows=target"
            )
        self.initial_run, self.n_generated = Path(str(config["initial_run"])), config["n_generated"]
        self.divergence_weight = config["divergence_weight"]
        self.register_buffer("is_begun", torch.tensor(False))
        self._initial = []  # the policy before training; in a list, so that it is no submodule

    @property
    def loss_weights(self):
        """Weights of the two losses."""
        return 1.0, self.divergence_weight

    def losses(self, users, items, is_target, targets):
        initial, was_training = self.begin(), self.training
        self.eval()
        memory, trie = self.remember(users, items), self.ids.trie
        with torch.no_grad():
            leaf, score = beam_search(self.transformer.decoder(memory), trie, self.n_generated)  # [B, G]
            codes, is_past_end = trie.ids[leaf], trie.is_past_end[leaf]  # [B, G, V]
            decoder = initial.transformer.decoder(initial.remember(users, items))
            before = code_log_likelihoods(decoder, codes, is_past_end)
            is_found = score > -torch.inf
            advantage = advantages(leaf == trie.leaf[targets - 1][:, None], is_found)
        now = code_log_likelihoods(self.transformer.decoder(memory), codes, is_past_end)
        self.train(was_training)
        counts = (~is_past_end & is_found[..., None]).float()
        counts = counts / counts.sum(dim=-1, keepdim=True).clamp(min=1) / is_found.sum(dim=1)[:, None, None]
        ratio = (now - now.detach()).exp()
        policy = -(counts * ratio * advantage[..., None]).sum() / len(targets)
        divergence = (counts * ((before - now).exp() - (before - now) - 1)).sum() / len(targets)
        return policy, self.divergence_weight * divergence

    @torch.no_grad()
    def begin(self):
        """Loads the policy as it was before training; a model that has not been trained yet gets its weights.

        Returns:
            GRPO: in evaluation mode.

        Raises:
            FileNotFoundError: the run does not exist, or has no checkpoint.
            ValueError: the run trained another model, or has other semantic IDs.
        """
        if not (self.initial_run / BEST).is_file():
            raise FileNotFoundError(f"initial_run={self.initial_run} has no {BEST}: name a finished run's folder")
        if not self._initial:
            state = load(self.initial_run / BEST, self.ids.codes.device)["state_dict"]
            own = self.state_dict()
            shapes = {name: own[name].shape for name in own if name != "is_begun"}
            if {name: part.shape for name, part in state.items()} != shapes or not torch.equal(
                state["codes"], self.ids.codes
            ):
                raise ValueError(
                    f"initial_run={self.initial_run} has other sizes or semantic IDs than this run: give the settings "
                    f"of its config.yaml, and a run of TIGER"
                )
            initial = copy.deepcopy(self).eval().requires_grad_(False)
            initial.load_state_dict({**state, "is_begun": self.is_begun})
            initial.take_fitted()
            if not self.is_begun:
                self.load_state_dict({**state, "is_begun": torch.ones_like(self.is_begun)})
            self._initial.append(initial)
        return self._initial[0]


def advantages(is_target: Tensor, is_found: Tensor) -> Tensor:
    """Rewards of each group in standard deviations from its mean.

    Args:
        is_target (Tensor): whether an ID is the target's, best beam first, shape: [B, G], bool.
        is_found (Tensor): False where a group has fewer than G IDs; those places are left out, shape: [B, G], bool.

    Returns:
        Tensor: 0 where all rewards of a group are equal, shape: [B, G], float32.
    """
    rank = torch.arange(1, 1 + is_target.shape[1], device=is_target.device)
    share = is_found / (1.0 + rank).log()  # [B, G]
    share = share / share.sum(dim=1, keepdim=True)
    reward = torch.where(is_target, 1.0, -share * is_target.any(dim=1, keepdim=True))
    count = is_found.sum(dim=1, keepdim=True)
    deviation = torch.where(is_found, reward - (reward * is_found).sum(dim=1, keepdim=True) / count, 0)
    spread = ((deviation**2).sum(dim=1, keepdim=True) / count).sqrt()
    return deviation / spread.clamp(min=1e-6)
