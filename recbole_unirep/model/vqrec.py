"""VQRec: an item is the sum of the embeddings of its product-quantized text codes; a sequential backbone on top.

Reference:
    Yupeng Hou, Zhankui He, Julian McAuley, Wayne Xin Zhao. "Learning Vector-Quantized Item Representation for
        Transferable Sequential Recommenders" (VQ-Rec), WWW 2023, arXiv:2210.12316.

It is UniRep with frozen OPQ codes and without ID embeddings. It is trained on one dataset, without the paper's
pre-training on several datasets and its permutation of codes between them.
"""

from recbole_unirep.model.unirep import UniRep
from recbole_unirep.semantic_ids.frozen_codes import has_frozen_codes


class VQRec(UniRep):
    """UniRep restricted to frozen codes, with the keys of UniRep.

    Raises:
        ValueError: the tokenizer is trained jointly, so its codes are not frozen.
    """

    def __init__(self, config, dataset):
        if not has_frozen_codes(config):
            raise ValueError(
                f"tokenizer={config['tokenizer']} is trained jointly, VQRec needs frozen codes: choose another, or "
                f"create semantic_ids with unirep tokenize"
            )
        super().__init__(config, dataset)
