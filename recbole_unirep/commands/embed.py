"""recbole_unirep.commands.embed: item text into vectors, ahead of the runs that read them."""

from recbole_unirep import parallel
from recbole_unirep.config import Config
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.data.item_text import encode_own_share, load_item_text
from recbole_unirep.runs.log import RunLog


def embed(arguments):
    """Makes the item text embeddings of a dataset, or finds them again.

    Of several processes (torchrun, on several machines too, over one folder) each encodes its share of the shards, the
    first one puts them together.

    Args:
        arguments (sequence of str): `--dataset=..`, `--text_encoder=..` and further keys.

    Returns:
        ItemText: the vectors, aligned with RecBole's numbering.
    """
    if parallel.is_launched() and parallel.world_size() == 1:  # by torchrun
        parallel.join(timeout_days=30)
    with RunLog(speaks=parallel.is_main()):
        config = Config("UniRep", arguments=arguments)
        dataset = create_dataset(config)
        if parallel.world_size() > 1:
            encode_own_share(config, dataset)
        return load_item_text(config, dataset)
