"""Made everything in this folder, once, by the code of commit 2c2cf25; README.md has the command.

The files stand for what users have on their disks. Made anew by later code they would prove nothing.
"""

import json
import random
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
KINDS = {
    "Tea": ["green tea", "black tea", "chamomile tea", "mint tea"],
    "Bread": ["rye bread", "wheat bread", "oat rolls", "corn tortillas"],
    "Fruit": ["red apples", "ripe pears", "dried figs", "sweet oranges"],
    "Cheese": ["aged cheddar", "soft goat cheese", "smoked gouda", "blue cheese"],
    "Spices": ["sweet paprika", "ground cumin", "black pepper", "cinnamon sticks"],
}
BRANDS = ["Hill Farm", "Old Mill", "Harbour", "Meadow"]
SIZES = ["100 g", "250 g", "500 g", "1 kg"]

COMMON = ["--dataset=grocer", "--data_path=data", "--epochs=5", "--MAX_ITEM_LIST_LENGTH=8", "--use_gpu=False"]
TEXT = ["--text_encoder=lexical", "--lexical_dim=16"]
SMALL = ["--n_layers=1", "--inner_size=32", "--users_per_batch=16", "--learning_rate=0.01", "--show_progress=False"]
CODES = ["--codebook_size=8", *TEXT]
RQVAE = ["--code_dim=8", "--encoder_sizes=[16]"]
SIZE = "--hidden_size=16"
T5 = [SIZE, "--n_heads=2", "--head_size=8", "--n_user_tokens=20", "--train_batch_size=64"]
OPQ = ["--n_levels=4", SIZE]
COMMANDS = [
    ["run_recbole", "--model=UniRep", *COMMON, *SMALL, *CODES, *RQVAE, "--run_dir=unirep"],
    ["run_recbole", "--model=UniRep", "--preset=best", *COMMON, *SMALL, *CODES, *RQVAE, "--n_levels=4",
     "--fusion_hidden_units=16", "--run_dir=unirep_best"],
    ["run_recbole", "--model=UniRep", "--tokenizer=RQKMeans", "--code_embedding_size=8", *COMMON, *SMALL, *CODES,
     "--run_dir=unirep_frozen_codes"],
    ["run_recbole", "--model=TIGER", *COMMON, *SMALL, *CODES, *T5, "--run_dir=tiger"],
    ["run_recbole", "--model=SASRec", SIZE, *COMMON, *SMALL, "--run_dir=sasrec"],
    ["run_recbole", "--model=EAGER", "--behaviour_codebook_size=8", *COMMON, *SMALL, *CODES, *T5, "--run_dir=eager"],
    ["run_recbole", "--model=LIGER", *COMMON, *SMALL, *CODES, *T5, "--run_dir=liger"],
    ["run_recbole", "--model=ActionPiece", "--vocabulary_size=200", "--n_segmentations=2", *COMMON, *SMALL, *CODES, *T5,
     "--run_dir=actionpiece"],
    ["run_recbole", "--model=MBGen", "--behaviour_field=rating", "--behaviour_cuts=[4]", *COMMON, *SMALL, *CODES, *T5,
     "--run_dir=mbgen"],
    ["run_recbole", "--model=RPG", *COMMON, *SMALL, *CODES, *OPQ, "--run_dir=rpg"],
    ["run_recbole", "--model=VQRec", "--code_embedding_size=16", *COMMON, *SMALL, *CODES, *OPQ, "--run_dir=vqrec"],
    ["unirep", "tokenize", "--tokenizer=RQKMeans", "--collisions=append", *COMMON[:2], *CODES, "--out=ids"],
    ["unirep", "add-items", "unirep_frozen_codes", "new_items.csv"],
    ["unirep", "export", "unirep_best", "--out=export"],
]  # fmt: skip
NOT_CONTINUED = ["eager", "liger", "actionpiece", "mbgen", "rpg", "vqrec"]


def main():
    write_dataset(HERE / "data" / "grocer", random.Random(2020))
    for name, *arguments in COMMANDS:
        subprocess.run([sys.executable, Path(sys.executable).parent / name, *arguments], cwd=HERE, check=True)
    for events in HERE.glob("*/tensorboard"):  # their names have the machine's
        shutil.rmtree(events)
    for run in NOT_CONTINUED:  # to keep the folder small
        for name in ("last.pt", "lock", "log.txt"):
            (HERE / run / name).unlink()
    with tempfile.TemporaryDirectory() as scratch:
        read_all = runpy.run_path(str(HERE.parent / "test_made_before.py"))["read_all"]
        expected = read_all(shutil.copytree(HERE, Path(scratch) / "copy"))
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


def write_dataset(folder, draw):
    """60 users who mostly keep to two kinds of items, 120 items of which the last has no text, and new_items.csv."""
    folder.mkdir(parents=True)
    kinds = {f"i{number}": draw.choice(list(KINDS)) for number in range(120)}
    lines = ["item_id:token\ttitle:token\tbrand:token\tcategories:token_seq\tprice:float"]
    for item, kind in kinds.items():
        name, brand, size = draw.choice(KINDS[kind]), draw.choice(BRANDS), draw.choice(SIZES)
        lines.append(f"{item}\t{name}, {size}\t{brand}\t'Groceries', '{kind}'\t{draw.randint(1, 20)}.5")
    lines[-1] = "i119\t\t\t\t"
    (folder / "grocer.item").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(60):
        liked = draw.sample(list(KINDS), 2)
        weights = [8 if kind in liked else 1 for kind in kinds.values()]
        taken = list(dict.fromkeys(draw.choices(list(kinds), weights, k=draw.randint(7, 12))))
        for day, item in enumerate(taken):
            lines.append(f"u{user}\t{item}\t{draw.randint(1, 5)}\t{1_300_000_000 + 86_400 * day}")
    (folder / "grocer.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    new = "item_id,title,brand,categories,price\nn1,\"mint tea, 2 kg\",Harbour,\"'Groceries', 'Tea'\",9.5\n"
    (HERE / "new_items.csv").write_text(new + "n2,\"dried plums, 250 g\",Meadow,\"'Groceries', 'Fruit'\",4.5\n")


if __name__ == "__main__":
    main()
