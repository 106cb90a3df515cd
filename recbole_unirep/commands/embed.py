"""recbole_unirep.commands.embed: `unirep embed` encodes item texts into vectors before runs read them."""

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import data_path_key, dataset_key, key_option, text_encoder_key
from recbole_unirep.commands.types import Place, Text
from recbole_unirep.settings.arguments import join_arguments


@command(
    "embed", takes_keys=True, example="unirep embed --dataset=amazon-beauty --data_path=FOLDER --text_encoder=minilm"
)
@dataset_key
@data_path_key
@text_encoder_key
@key_option("--text_fields", Text("COLUMNS"))
@key_option("--text_batch_size", Text("N"))
@key_option("--text_device", Text("NAME"))
@key_option("--text_processes", Text("N"))
@key_option("--text_shard_size", Text("N"))
@key_option("--text_dir", Place("FOLDER"))
def embed(keys):
    """Encode the item texts of a dataset once, for all later runs.

    Existing vectors are kept. After an interruption the same command continues. Under torchrun, each process encodes
    its share of the shards and the first process joins them; several machines can share one folder.
    """
    from recbole_unirep import parallel
    from recbole_unirep.config import Config
    from recbole_unirep.data.dataset import create_dataset
    from recbole_unirep.data.item_text import encode_own_share, load_item_text
    from recbole_unirep.runs.log import RunLog

    if parallel.is_launched() and parallel.world_size() == 1:  # started by torchrun
        parallel.join(timeout_days=30)
    with RunLog(speaks=parallel.is_main()):
        config = Config("UniRep", arguments=join_arguments(keys))
        dataset = create_dataset(config)
        if parallel.world_size() > 1:
            encode_own_share(config, dataset)
        return load_item_text(config, dataset)
