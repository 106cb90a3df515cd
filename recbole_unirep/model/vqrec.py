"""VQRec: items as sums of the vectors of their product-quantized text, read by a sequential backbone.

Reference:
    Yupeng Hou, Zhankui He, Julian McAuley, Wayne Xin Zhao. "Learning Vector-Quantized Item Representation for
        Transferable Sequential Recommenders" (VQ-Rec), WWW 2023, arXiv:2210.12316.

It is the case of UniRep with codes of OPQ that stand still and no ID embedding; trained on one dataset, without the
paper's pre-training on several and its permutation of codes between them.
"""

from recbole_unirep.model.unirep import UniRep
from recbole_unirep.semantic_ids.frozen_codes import has_frozen_codes


class VQRec(UniRep):
    """Codes to summed embeddings over a backbone; everything else is `UniRep`'s, its keys too.

    Raises:
        ValueError: the tokenizer is trained along, so that its codes do not stand still.
    """

    def __init__(self, config, dataset):
        if not has_frozen_codes(config):
            raise ValueError(
                f"tokenizer={config['tokenizer']} is trained along, VQRec's codes stand still: choose another, or make "
                f"semantic_ids of it by unirep tokenize"
            )
        super().__init__(config, dataset)
