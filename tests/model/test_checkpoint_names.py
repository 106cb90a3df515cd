"""Checkpoints of the generative models: names of their tensors, order of their parameters, and reading older ones."""

from itertools import groupby
from pathlib import Path

import pytest
import torch
from recbole.utils import init_seed

from recbole_unirep.quick_start import run_recbole

IDS = {"codes", "is_certain"}
NETWORK = {*IDS, "user_token", "tokens", "encoder", "stack"}
BEHAVIOUR = {f"behaviour.{name}" for name in ("codes", "is_certain", "tokens", "stack")}
HALVES = ["tokens", "encoder", "stack"]
CASES = {  # model, keys, names up to the module that a checkpoint names, and modules in the order of their parameters
    "TIGER": ("TIGER", {}, NETWORK, HALVES),
    "TIGER decoder only": ("TIGER", {"decoder_only": True}, NETWORK - {"encoder"}, ["tokens", "stack"]),
    "GRPO": ("GRPO", {"initial_run": "tiger"}, {*NETWORK, "is_begun"}, HALVES),
    "LIGER": (
        "LIGER",
        {},
        {*NETWORK, "text", "read_text", "item_side", "user_side"},
        [*HALVES, "read_text", "item_side", "user_side"],
    ),
    "MBGen": ("MBGen", {"behaviour_field": "kind"}, NETWORK - {"encoder"}, ["tokens", "stack"]),
    "EAGER": (
        "EAGER",
        {"behaviour_codebook_size": 7},
        {*NETWORK, *BEHAVIOUR},
        [*HALVES, "behaviour.tokens", "behaviour.stack"],
    ),
    "ActionPiece": (
        "ActionPiece",
        {"vocabulary_size": 200},
        {*NETWORK, "features", "level_tokens", "merges", "orders"},
        HALVES,
    ),
    "RPG": (
        "RPG",
        {},
        {*IDS, "tokens", "position_embedding", "norm", "encoder", "head_weight", "head_bias"},
        ["head_weight", "head_bias", "tokens", "position_embedding", "norm", "encoder"],
    ),
}


@pytest.fixture
def kinds(tiny):
    """Labels every third interaction buy and the others view."""
    path = tiny / "tiny.inter"
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    rows = [f"{row}\t{'view' if number % 3 else 'buy'}" for number, row in enumerate(rows)]
    path.write_text("\n".join([f"{head}\tkind:token", *rows, ""]), encoding="utf-8")


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request, generative, kinds):
    name, keys, names, order = CASES[request.param]
    if name == "GRPO":
        run_recbole("TIGER", "tiny", config_dict={**generative.settings, "epochs": 1, "run_dir": "tiger"})
    return generative(name, **keys)[1], names, order


def module_of(name):
    """Module of a tensor: `stack` for `stack.blocks.0.norm.weight`, `behaviour.stack` for tensors below that."""
    parts = name.split(".")
    return ".".join(parts[: 2 if parts[0] == "behaviour" else 1])


def test_a_checkpoint_names_no_part_but_behaviour(case):
    model, names, _ = case
    assert {module_of(name) for name in model.state_dict()} == names


def test_parameters_keep_the_order_of_saved_optimizers(case):
    """An optimizer's state refers to parameters by position."""
    model, _, order = case
    stored = {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items()}
    modules = [module_of(stored[id(parameter)]) for parameter in model.parameters()]
    assert [module for module, _ in groupby(modules)] == order


def test_every_tensor_is_read_back(case):
    model, _, _ = case
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    assert str(model.load_state_dict(kept)) == "<All keys matched successfully>"
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())


def test_codes_of_a_loaded_checkpoint_are_used_for_ranking(generative):
    _, model = generative("TIGER")
    codes, before = model.state_dict()["codes"].clone(), model.ids.trie.ids[model.ids.trie.leaf]
    codes[1:] = codes[1:].roll(1, 0)
    model.load_state_dict({**model.state_dict(), "codes": codes})
    assert not torch.equal(codes[1:], before)
    assert torch.equal(model.ids.trie.ids[model.ids.trie.leaf], codes[1:])


def test_a_missing_or_unknown_name_is_an_error(generative):
    _, model = generative("TIGER")
    state = model.state_dict()
    with pytest.raises(RuntimeError, match="Missing key.*tokens.weight"):
        model.load_state_dict({name: tensor for name, tensor in state.items() if name != "tokens.weight"})
    with pytest.raises(RuntimeError, match="Unexpected key.*vectors"):
        model.load_state_dict({**state, "vectors": state["tokens.weight"]})


def test_a_checkpoint_with_user_tokens_of_the_behaviour_decoder_is_read(generative):
    """Older checkpoints of EAGER hold these tokens, which its behaviour decoder never used."""
    _, model = generative("EAGER", behaviour_codebook_size=7)
    init_seed(5, True)
    state = {
        name: torch.randn_like(part) if part.is_floating_point() else part for name, part in model.state_dict().items()
    }
    model.load_state_dict({**state, "behaviour.user_token": torch.zeros_like(model.user_token)})
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_a_nested_model_keeps_its_names_below_its_prefix(generative):
    _, model = generative("TIGER")
    outer = torch.nn.ModuleDict({"inner": model, "other": torch.nn.Linear(2, 2)})
    state = outer.state_dict()
    assert {f"inner.{name}" for name in model.state_dict()} == {name for name in state if name.startswith("inner.")}
    assert str(outer.load_state_dict(state)) == "<All keys matched successfully>"


def test_a_run_of_tiger_holds_the_names_that_grpo_reads(generative):
    run_recbole("TIGER", "tiny", config_dict={**generative.settings, "epochs": 1, "run_dir": "tiger"})
    stored = torch.load(Path("tiger/model.pt"), weights_only=True)["state_dict"]
    _, model = generative("GRPO", initial_run="tiger")
    assert stored.keys() | {"is_begun"} == model.state_dict().keys()
