"""recbole_unirep.commands.encode_items: `unirep encode-items` writes codes of new items."""

from pathlib import Path

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import argument, data_path_key, dataset_key, key_option, option
from recbole_unirep.commands.types import Place, Text


@command("encode-items", takes_keys=True, example="unirep encode-items ids --vectors=new.npy --out=codes.csv")
@argument("bundle", "BUNDLE", "the folder of a bundle", type=Place("FOLDER"))
@option(
    "--vectors",
    Text('"A.npy B.npy"'),
    "Vector files instead of a dataset, in the same order as for the bundle.",
    shown="none",
)
@dataset_key
@data_path_key
@key_option("--text_encoder", Text("NAME"), "Encoder of the item texts.", shown="the bundle's")
@option("--out", Place("FILE.csv"), "File to write.", default="codes.csv")
def encode_items(bundle, vectors, out, keys):
    """Encode new items with the tokenizer of a bundle.

    The items are those of a dataset or of vector files. The CSV file has a row per item: item, code_1, code_2, ...
    """
    from recbole_unirep.study.tokenization import encode_new_items

    paths = None if vectors is None else [Path(path) for path in vectors.split()]
    return encode_new_items(bundle, paths, out, keys)
