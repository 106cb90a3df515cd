"""recbole_unirep.serving.add_items: adds new items to a finished run, which then recommends them without training.

Steps of `add_items`: load the run, read the new items, compute their text vectors, codes, ID fallback and rows of the
item table, write the file.
"""

from pathlib import Path

from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.data.new_item_text import new_item_text, read_rows, vectors_of_files
from recbole_unirep.model.new_items import NewItems, check_takes_items, check_text, embed_new_items, id_fallback_of
from recbole_unirep.model.textknn import TextKNN
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.semantic_ids.frozen_codes import has_frozen_codes
from recbole_unirep.semantic_ids.new_item_codes import frozen_tokenizer, with_unused_levels
from recbole_unirep.serving.added_items import AddedItems, append_added, check_new, read_added
from recbole_unirep.settings.with_keys import with_keys


def add_items(run, new_items, vectors=None, id_fallback=None, data_path=None, **keys):
    """Embeds new items with the model of a finished run and stores them in the run's folder.

    The new items get a text vector, codes and an ID fallback. `Recommender.load` and `unirep recommend` then include
    them in the catalogue. Scores of other items do not change.

    Args:
        run (str or Path): folder of a run of UniRep or VQRec over a causal backbone, or of TextKNN.
        new_items (str, Path or sequence of mappings): a .csv, .tsv or .jsonl file, or rows; with the dataset's item
            column and the columns of the run's item text.
        vectors (sequence of str or Path, or None): vectors of the new items, one NAME.npy with its NAME.json per
            encoder of the run; None encodes the text with the run's encoders.
        id_fallback (str or None): substitute for ID embeddings: 'mean' of the trained items, 'zero', or 'nearest', the
            ID embedding of the trained item with the nearest text; None uses `cold_id_embedding` of the run.
        data_path (str or None): folder of the datasets; None uses the path stored in the run.
        **keys: config keys of text encoding or of the device that override those of the run.

    Returns:
        AddedItems: all items added to the run so far.

    Raises:
        FileNotFoundError: the folder holds no run or no checkpoint, or a file is missing.
        ValueError: the model does not support new items, an item can't be added, or the vectors can't be computed in
            the same way as the run's. Nothing is written in these cases.
    """
    config, model, data = load_data_and_model(run, data_path, **keys)
    check_takes_items(config, model)
    id_fallback = id_fallback_of(config, id_fallback)
    dataset, added = data.train, read_added(run)
    new = read_rows(new_items, dataset.iid_field)
    check_new(new.items, [*dataset.field2id_token[dataset.iid_field], *(added.items if added else ())])

    if isinstance(model, TextKNN):
        embedded = NewItems(_text(config, model, dataset, new, vectors)[0])
    else:
        embedded = _embedded(config, model, dataset, new, vectors, id_fallback)
    batch = {"n_items": len(new.items), "vectors": model.text_encoder, "id_fallback": id_fallback}
    return append_added(run, AddedItems(new.items, new.titles, embedded, [batch]))


def _embedded(config, model, dataset, new, vectors, id_fallback):
    """Returns NewItems for a UniRep model."""
    table = model.item_embedding
    if not has_frozen_codes(config):
        text, known_text = _text(config, model, dataset, new, vectors)
        return embed_new_items(table, text, None, id_fallback, known_text)
    own_codes = table.code_embedding.codes
    frozen = frozen_tokenizer(config, dataset, own_codes)
    if frozen.text is None:
        text, known_text = _text_of_files(new, vectors, frozen.sources, id_fallback)
    else:
        text, known_text = _text(with_keys(config, **frozen.text), None, dataset, new, vectors)
    codes = with_unused_levels(frozen.encode(text), own_codes.shape[1])
    return embed_new_items(table, text, codes, id_fallback, known_text)


def _text(config, model, dataset, new, vectors):
    """Text vectors of the new items and of the run's items; the latter are checked against `model`, if given."""
    known_text = load_item_text(config, dataset).vectors
    if model is not None:
        check_text(model, known_text)
    return new_item_text(config, dataset, new, vectors and [Path(path) for path in vectors]), known_text


def _text_of_files(new, vectors, sources, id_fallback):
    """Vectors of new items from files, for a run whose semantic IDs were fitted to vectors from files."""
    if vectors is None:
        raise ValueError(
            f"the run's semantic IDs were made of {', '.join(sources)}, which no encoder here has made: give the new "
            f"items' vectors of the same kind, --vectors=NEW.npy, and list the items in NEW.json beside it"
        )
    if id_fallback == "nearest":
        raise ValueError(
            f"id_fallback=nearest needs text vectors of the run's items, which the run does not store ({sources[0]} of "
            f"its bundle): choose mean or zero"
        )
    return vectors_of_files([Path(path) for path in vectors], new.items, dict.fromkeys(sources)), None
