"""recbole_unirep.commands.tokenize: `unirep tokenize` writes semantic IDs of a catalogue."""

from pathlib import Path

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import data_path_key, dataset_key, key_option, option, text_encoder_key
from recbole_unirep.commands.types import OneOf, Place, Text
from recbole_unirep.settings.extensions import extension_names
from recbole_unirep.settings.shipped import shipped_names


@command(
    "tokenize",
    takes_keys=True,
    example="unirep tokenize --dataset=amazon-beauty --data_path=FOLDER --text_encoder=minilm --out=ids",
)
@dataset_key
@data_path_key
@text_encoder_key
@option("--vectors", Text('"A.npy B.npy"'), "Vector files instead of a dataset, concatenated.", shown="none")
@option(
    "--tokenizer",
    Text("NAME", lambda: [*shipped_names("tokenizer"), *extension_names("tokenizer")]),
    "Tokenizer.",
    default="RQKMeans",
)
@option(
    "--collisions",
    OneOf("leave", "append", "nearest_free", "sinkhorn", "balanced"),
    "How to treat items that share an ID.",
    default="leave",
)
@option(
    "--collaborative",
    Text("RUN|graph"),
    "Collaborative vectors, for Fused and LETTER: the item table of a run, or 'graph' for the co-occurrence graph.",
    shown="graph",
)
@key_option("--n_levels", Text("N"), "Codes per semantic ID.", shown="the tokenizer's")
@key_option("--codebook_size", Text("N"), "Codes per level.", shown="the tokenizer's")
@option("--out", Place("FOLDER"), "Folder of the bundle.", shown="semantic_ids/SOURCE-TOKENIZER")
def tokenize(vectors, tokenizer, collisions, collaborative, out, keys):
    """Fit a tokenizer to a catalogue and write its semantic IDs as a bundle.

    The items are those of a dataset, with their texts or columns, or of vector files: NAME.npy with item
    tokens in NAME.json. Config keys of the tokenizer, the dataset and the item texts can be set.
    """
    from recbole_unirep.study.tokenization import tokenize_catalogue

    paths = None if vectors is None else [Path(path) for path in vectors.split()]
    return tokenize_catalogue(tokenizer, collisions, collaborative, paths, out, keys)
