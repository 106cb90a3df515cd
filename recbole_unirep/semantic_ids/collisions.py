"""recbole_unirep.semantic_ids.collisions: policies for items that share a semantic ID.

A policy changes the last level of the codes, or appends a level; the other levels keep their meaning.

Reference:
    append: Shashank Rajput et al. "Recommender Systems with Generative Retrieval" (TIGER), arXiv:2305.05065.
    sinkhorn: Bowen Zheng et al. "Adapting Large Language Models by Integrating Collaborative Semantics for
        Recommendation" (LC-Rec), arXiv:2311.09049; Marco Cuturi. "Sinkhorn Distances", NeurIPS 2013.
    balanced: OneRec, arXiv:2502.18965, Algorithm 1, on the last level only.

Shapes: N items, L levels, K codebook_size, D dimensions.
"""

from hashlib import blake2b
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recbole_unirep.tokenizer.balancedrqkmeans import balanced_assignment
from recbole_unirep.tokenizer.base import check_option

SINKHORN_ROUNDS = 200
SINKHORN_SHARPNESS = 50.0  # relative to the mean squared distance; so large that the plan is nearly an assignment


class LastLevel(NamedTuple):
    """Residuals and codebook that determine the codes of the last level.

    Attributes:
        residual (Tensor): residuals of the items after the levels before it, shape: [N, D].
        codebook (Tensor): its vectors, shape: [K, D].
    """

    residual: Tensor
    codebook: Tensor


class CatalogueCodes(NamedTuple):
    """Codes of a catalogue.

    Attributes:
        plain (Tensor): from the tokenizer, int64, shape: [N, L].
        resolved (Tensor): after the policy, int64, shape: [N, L], or [N, L + 1] under 'append'.
        codebook_sizes (list of int): codes that each level of `resolved` may choose from.
    """

    plain: Tensor
    resolved: Tensor
    codebook_sizes: list


def catalogue_codes(tokenizer: Any, known: Any, items: list, policy: str) -> CatalogueCodes:
    """Codes of a catalogue by a fitted tokenizer, before and after a policy.

    Args:
        tokenizer (SemanticTokenizer or AssignedTokenizer): fitted.
        known (Tensor or Items): vectors or columns of the items, as the tokenizer reads them.
        items (list of str): item tokens.
        policy (str): a key of POLICIES.

    Raises:
        ValueError: the policy is unknown, or needs a last level that the tokenizer does not have.
    """
    plain, last = tokenizer.encode_catalogue(known), None
    if policy in ANEW and hasattr(tokenizer, "last_level"):
        last = LastLevel(*tokenizer.last_level(known, plain))
    resolved, sizes = resolve(policy, plain, items, last), list(tokenizer.codebook_sizes)
    sizes += [int(resolved[:, level].max()) + 1 for level in range(len(sizes), resolved.shape[1])]
    return CatalogueCodes(plain, resolved, sizes)


def resolve(policy: str, codes: Tensor, items: list, last_level: LastLevel) -> Tensor:
    """Applies a policy to codes.

    Args:
        policy (str): a key of POLICIES.
        codes (Tensor): from the tokenizer, int64, shape: [N, L].
        items (list of str): item tokens; their hashes break ties, never their order.
        last_level (LastLevel or None): for the policies that choose codes again; None if a tokenizer has none.

    Returns:
        Tensor: int64, shape: [N, L], or [N, L + 1] under 'append'.

    Raises:
        ValueError: the policy is unknown, or needs a last level that is missing.
    """
    check_option("collisions", policy, POLICIES)
    if policy in ANEW and last_level is None:
        raise ValueError(
            f"collisions={policy} chooses the last code by distance to code vectors, which bundles and this "
            f"tokenizer do not have: use leave or append"
        )
    order = torch.tensor(sorted(range(len(items)), key=lambda row: blake2b(items[row].encode()).digest()))
    return POLICIES[policy](codes, order.to(codes.device), last_level)


def _leave(codes, order, last_level):
    return codes


def _append(codes, order, last_level):
    """Numbers the items that share an ID: 0, 1, 2, ..."""
    shared = torch.unique(codes, dim=0, return_inverse=True)[1]
    by_id = order[shared[order].argsort(stable=True)]
    counts = torch.bincount(shared)
    first = torch.cat([counts.new_zeros(1), counts.cumsum(0)[:-1]])
    place = torch.empty_like(shared)
    place[by_id] = torch.arange(len(codes), device=codes.device) - first[shared[by_id]]
    return torch.cat([codes, place[:, None]], dim=1)


def _nearest_free(codes, order, last_level):
    """The nearest of the items that share an ID keeps it; the others take the nearest free code under their prefix.

    If all K codes are taken under a prefix, an item keeps its shared code.
    """
    codes, (residual, codebook) = codes.clone(), last_level
    prefix = torch.unique(codes[:, :-1], dim=0, return_inverse=True)[1]
    groups = order[prefix[order].argsort(stable=True)].split(torch.bincount(prefix).tolist())
    for group in groups:
        if len(torch.unique(codes[group, -1])) == len(group):
            continue
        distance = torch.cdist(residual[group], codebook).cpu()  # [G, K]
        own = distance.gather(1, codes[group, -1:].cpu())[:, 0]
        taken, left = {}, []
        for place in own.argsort(stable=True).tolist():
            code = int(codes[group[place], -1])
            if code in taken:
                left.append(place)
            taken.setdefault(code, place)
        for place in left:
            for code in distance[place].argsort(stable=True).tolist():
                if code not in taken:
                    taken[code] = place
                    codes[group[place], -1] = code
                    break
    return codes


def _sinkhorn(codes, order, last_level):
    """Each item's code under the transport plan of least distance that uses all codes equally."""
    plan = sinkhorn_plan(last_level.residual, last_level.codebook)
    return torch.cat([codes[:, :-1], plan.argmax(dim=-1, keepdim=True)], dim=1)


def _balanced(codes, order, last_level):
    """Gives each code of the last level to equally many items."""
    code = torch.empty_like(codes[:, -1])
    code[order], _ = balanced_assignment(last_level.residual[order], last_level.codebook)
    return torch.cat([codes[:, :-1], code[:, None]], dim=1)


POLICIES = {
    "leave": _leave,
    "append": _append,
    "nearest_free": _nearest_free,
    "sinkhorn": _sinkhorn,
    "balanced": _balanced,
}
ANEW = ("nearest_free", "sinkhorn", "balanced")


def sinkhorn_plan(x: Tensor, codebook: Tensor) -> Tensor:
    """Logarithm of how much of each item goes to each code; all items have equal weight, and so have all codes.

    Args:
        x (Tensor): shape: [N, D].
        codebook (Tensor): shape: [K, D].

    Returns:
        Tensor: log of the plan, float64, shape: [N, K].
    """
    cost = torch.cdist(x.double(), codebook.double()).square()
    kernel = -SINKHORN_SHARPNESS * cost / cost.mean().clamp(min=torch.finfo(cost.dtype).tiny)
    log_n = -torch.log(torch.tensor(float(len(x)), dtype=cost.dtype))
    log_k = -torch.log(torch.tensor(float(len(codebook)), dtype=cost.dtype))
    by_code = kernel.new_zeros(len(codebook))
    for _ in range(SINKHORN_ROUNDS):
        by_item = log_n - (kernel + by_code).logsumexp(dim=1)
        by_code = log_k - (kernel + by_item[:, None]).logsumexp(dim=0)
    return kernel + by_item[:, None] + by_code
