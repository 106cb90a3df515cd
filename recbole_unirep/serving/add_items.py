"""recbole_unirep.serving.add_items: new items for a finished run, which then recommends them without training.

`add_items` reads from top to bottom: the run, the new items, their text vectors, codes, ID fallback, rows, the file.
"""

from pathlib import Path

from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.data.new_item_text import new_item_text, read_rows, vectors_of_files
from recbole_unirep.model.new_items import NewItems, check_takes_items, check_text, embed_new_items, id_fallback_of
from recbole_unirep.model.textknn import TextKNN
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.runs.log import RunLog
from recbole_unirep.semantic_ids.frozen_codes import has_frozen_codes
from recbole_unirep.semantic_ids.new_item_codes import frozen_tokenizer, with_unused_levels
from recbole_unirep.serving.added_items import ADDED, AddedItems, append_added, check_new, read_added
from recbole_unirep.settings.values import split_arguments
from recbole_unirep.settings.with_keys import with_keys

OPTIONS = ("vectors", "id_fallback", "data_path")
SETTINGS = ("use_gpu", "gpu_id", "text_device", "text_batch_size")


def add_items(run, new_items, vectors=None, id_fallback=None, data_path=None, **keys):
    """Gives new items a text vector, codes and an ID fallback by a finished run, and stores them in its folder.

    Whoever loads the run to recommend has them in the catalogue from then on; scores of other items do not change.

    Args:
        run (str or Path): folder of a run of UniRep or VQRec over a causal backbone, or of TextKNN.
        new_items (str, Path or sequence of mappings): a file, .csv, .tsv or .jsonl, or rows; with the dataset's item
            column and the columns that the run's item text is made of.
        vectors (sequence of str or Path, or None): vectors of the new items, NAME.npy with NAME.json beside it, one
            for each encoder of the run; None encodes the text by them.
        id_fallback (str or None): what stands for an ID embedding: 'mean' of the trained items', 'zero', or 'nearest',
            that of the trained item with the nearest text; None is `cold_id_embedding` of the run.
        data_path (str or None): where the datasets lie now; None is where the run found them.
        **keys: settings of text encoding or of the device that should differ from the run's.

    Returns:
        AddedItems: all that were added by now.

    Raises:
        FileNotFoundError: the folder holds no run or no checkpoint, or a file is missing.
        ValueError: the model can't take new items, an item can't be added, or the vectors can't be had as the run's
            were; nothing has been written then.
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
    """NewItems of a UniRep."""
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
    """Text vectors of new items and of the run's; those are compared with the model's own, where it has any."""
    known_text = load_item_text(config, dataset).vectors
    if model is not None:
        check_text(model, known_text)
    return new_item_text(config, dataset, new, vectors and [Path(path) for path in vectors]), known_text


def _text_of_files(new, vectors, sources, id_fallback):
    """Vectors of new items where those of the run's were files that a bundle was made of, and no others."""
    if vectors is None:
        raise ValueError(
            f"the run's semantic IDs were made of {', '.join(sources)}, which no encoder here has made: give the new "
            f"items' vectors of the same kind, --vectors=NEW.npy with NEW.json beside it that lists them"
        )
    if id_fallback == "nearest":
        raise ValueError(
            f"id_fallback=nearest goes by text vectors of the run's items, which it does not have ({sources[0]} of its "
            f"bundle are not stored): choose mean or zero"
        )
    return vectors_of_files([Path(path) for path in vectors], new.items, dict.fromkeys(sources)), None


def add_items_command(arguments):
    """`unirep add-items`.

    Args:
        arguments (sequence of str): the run's folder, the file of new items, then `--vectors="A.npy B.npy"`,
            `--id_fallback=mean|zero|nearest`, `--data_path=FOLDER` and settings of SETTINGS.

    Returns:
        str: what was added.

    Raises:
        ValueError: an option is not understood; and as `add_items`.
        FileNotFoundError: as `add_items`.
    """
    folders = [argument for argument in arguments[:2] if not argument.startswith("--")]
    if len(folders) < 2:
        raise ValueError("add-items puts new items into a finished run: write unirep add-items RUN NEW_ITEMS.csv")
    options = split_arguments(arguments[2:])
    options.pop("debug", None)
    for name, text in options.items():
        if name not in (*OPTIONS, *SETTINGS) or not text.strip():
            found = f"--{name} is empty" if name in (*OPTIONS, *SETTINGS) else f"there is no --{name}"
            raise ValueError(f"add-items: {found}: known are --{'=.., --'.join((*OPTIONS, *SETTINGS))}=..")
    if "vectors" in options:
        options["vectors"] = options["vectors"].split()
    run, file = folders
    with RunLog(speaks=False):
        added = add_items(run, file, **options)
    batch, embedded = added.batches[-1], added.embedded
    parts = [f"text vectors {batch['vectors']} ({embedded.text.shape[1]} dimensions)"]
    if embedded.codes is not None:
        parts.append(f"{embedded.codes.shape[1]} codes")
    if batch["id_fallback"] is not None:
        parts.append(f"ID fallback {batch['id_fallback']}")
    return f"{Path(run) / ADDED}: {batch['n_items']} items added, {len(added.items)} in all; {', '.join(parts)}"
