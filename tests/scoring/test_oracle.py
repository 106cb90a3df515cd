"""Our ranks match stock RecBole's full scores on ml-100k, for every user whose target has no near tie.

Both sides read the data in RecBole's order. RecBole scores padding as item 0 and sets it to -inf; we never score it.
RecBole reads whole sequences with padding on the right; we trim the sequences of causal models. The states are the same
up to rounding, because no position sees later positions.
"""

import pytest
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.utils import create_samplers
from recbole.evaluator import Evaluator
from recbole.trainer import Trainer
from recbole.utils import init_seed

from recbole_unirep.config import Config
from recbole_unirep.data import recbole_split
from recbole_unirep.data.dataset import FastAugmentation, class_for
from recbole_unirep.data.split import HeldOut
from recbole_unirep.model.build import build_model
from recbole_unirep.scoring.evaluation import Ranking
from recbole_unirep.scoring.metrics import metrics_of

pytestmark = pytest.mark.slow  # stock RecBole ranks ml-100k

METRICS = ["Hit", "NDCG", "MRR", "MAP", "Recall", "Precision", "GAUC"]
# RecBole masks seen items for general and context-aware models only: their `full` is our full_unseen.
PROTOCOL = dict.fromkeys(("SASRec", "GRU4Rec", "Caser", "BERT4Rec", "HGN"), "full") | {"FM": "full_unseen"}
NEAR = 1e-5


def configure(model):
    return Config(model, "ml-100k", config_dict={"metrics": METRICS, "use_gpu": False, "MAX_ITEM_LIST_LENGTH": 20})


class RecBolesOrder(FastAugmentation):
    """Our augmentation, over rows in RecBole's order, which compares times as float32."""

    def data_augmentation(self):
        self.sort(by=self.time_field)
        super().data_augmentation()


class InRecBolesOrder(RecBolesOrder, recbole_split.SequentialDataset):
    """RecBole's split and order, with our augmentation."""


@pytest.fixture(scope="module")
def parts():
    """Builds the whole dataset and its three parts in RecBole's order, once per class of dataset."""
    built = {}

    def build(config):
        made = class_for(config, {**recbole_split.DATASETS, "SequentialDataset": InRecBolesOrder})
        if made not in built:
            dataset = made(config)
            built[made] = dataset, dataset.build()
        return built[made]

    return build


def stock_scores(config, model, loader):
    """RecBole's Trainer, its score table (-inf for items that are not candidates), and the targets."""
    trainer = Trainer(config, model)
    trainer.tot_item_num = loader._dataset.item_num
    trainer.item_tensor = loader._dataset.get_item_feature()
    batches = [trainer._full_sort_batch_eval(batch)[1:] for batch in loader]
    scores, _, targets = (torch.cat(part) for part in zip(*batches))
    return trainer, scores, targets


@torch.no_grad()
@pytest.mark.parametrize("name", PROTOCOL)
def test_ranks_and_metrics_equal_stock_recboles(parts, rank, tmp_path, name):
    config = configure(name)
    dataset, (train, valid, test) = parts(config)
    init_seed(7, True)
    model = build_model(config, train).eval()
    for table in (part for part in model.modules() if isinstance(part, torch.nn.Embedding)):
        torch.nn.init.normal_(table.weight, std=0.3)  # large enough that few scores are near ties

    sampler = create_samplers(config, dataset, [train, valid, test])[2]
    trainer, scores, targets = stock_scores(config, model, FullSortEvalDataLoader(config, test, sampler))
    n_before = torch.bincount(torch.cat([part.inter_feat["user_id"] for part in (train, valid)])).numpy()
    n_before[1:] += PROTOCOL[name] == "full"  # a user's first item has no row in a sequential dataset
    data = HeldOut(config, test, n_before, None, "test")
    assert torch.equal(data.targets.items, targets)

    ranking = rank(model, data, [PROTOCOL[name]], batch_size=100, scores_at_once=200_000)[PROTOCOL[name]]
    target_scores = scores.gather(1, targets[:, None])
    alone = ((scores - target_scores).abs() <= NEAR).sum(dim=1) == 1
    assert alone.float().mean() > 0.9
    assert torch.equal(ranking.ranks[alone], 1 + (scores > target_scores).sum(dim=1)[alone])
    assert torch.equal(ranking.n_candidates, (scores > -torch.inf).sum(dim=1))

    positive = torch.arange(int(alone.sum()))
    trainer.eval_collector.eval_batch_collect(scores[alone], None, positive, targets[alone])
    expected = Evaluator(config).evaluate(trainer.eval_collector.get_data_struct())
    ours = metrics_of(Ranking(*(part[alone] for part in ranking)), config, data)
    del ours["mrr"]
    assert ours == {metric: float(value) for metric, value in expected.items()}
    assert 0 < ours["hit@20"] < 1
