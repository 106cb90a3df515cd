"""One side of the tokenizer benchmark: fits on a sample, encodes all vectors, and prints one JSON line.

    python benchmarks/quantizer_side.py SIDE --vectors=FILE.npy [--rows=N] [--peers=FOLDER]

Quantizers have LEVELS codes with CODES values each. All sides fit on the same rows and encode the memory-mapped file
in parts. Distortion is the mean squared error divided by the variance of the vectors, over at most 100,000 rows. The
RQ-VAE sides train epochs over the same rows with the same sizes.
"""

import sys
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from unittest.mock import MagicMock

import faiss
import numpy as np
import torch
from measure import arguments, more_memory, own_memory, report, timed

from recbole_unirep.tokenizer.pq import PQ
from recbole_unirep.tokenizer.rqkmeans import RQKMeans
from recbole_unirep.tokenizer.rqvae import RQVAE

LEVELS, CODES, FIT_ROWS, PART, MEASURED_ROWS = 4, 256, 65_536, 2**15, 100_000
ITERATIONS, BATCH, WARM_UP, STEPS = 25, 256, 20, 100
HIDDEN, CODE_DIM = [512, 256, 128], 64


class Ours:
    """A fitted tokenizer of this package."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def fit(self, sample):
        self.tokenizer.fit(torch.from_numpy(sample))

    def encode(self, part):
        return self.tokenizer.encode(torch.from_numpy(part)).numpy()

    def decode(self, codes):
        return self.tokenizer.decode(torch.from_numpy(codes)).numpy()


class Faiss:
    """A quantizer of faiss."""

    def __init__(self, quantizer):
        self.quantizer = quantizer
        self.fit, self.encode, self.decode = quantizer.train, quantizer.compute_codes, quantizer.decode


class VectorQuantizePytorch:
    """ResidualVQ of vector-quantize-pytorch: k-means on the first batch, then ITERATIONS passes of moving averages."""

    def __init__(self, width):
        from vector_quantize_pytorch import ResidualVQ

        self.quantizer = ResidualVQ(dim=width, num_quantizers=LEVELS, codebook_size=CODES, kmeans_init=True)

    @torch.no_grad()
    def fit(self, sample):
        self.quantizer.train()
        for _ in range(ITERATIONS):
            self.quantizer(torch.from_numpy(sample))
        self.quantizer.eval()

    @torch.no_grad()
    def encode(self, part):
        return self.quantizer(torch.from_numpy(part))[1].numpy()

    @torch.no_grad()
    def decode(self, codes):
        return self.quantizer.get_output_from_indices(torch.from_numpy(codes)).numpy()


def residual_quantizer(width, beam):
    quantizer = faiss.ResidualQuantizer(width, LEVELS, int(np.log2(CODES)))
    quantizer.max_beam_size = beam
    return Faiss(quantizer)


def rqkmeans(**more):
    sizes = {"n_levels": LEVELS, "codebook_size": CODES}
    return Ours(RQKMeans.from_defaults(**sizes, **more, fit_items=0))


QUANTIZERS = {
    "rqkmeans": lambda width: rqkmeans(),
    "rqkmeans_unrefined": lambda width: rqkmeans(refinement_rounds=0),
    "faiss_rq_beam_1": lambda width: residual_quantizer(width, 1),
    "faiss_rq_beam_5": lambda width: residual_quantizer(width, 5),
    "residualvq": VectorQuantizePytorch,
    "pq": lambda width: Ours(PQ.from_defaults(n_levels=LEVELS, codebook_size=CODES, fit_items=0)),
    "faiss_pq": lambda width: Faiss(faiss.ProductQuantizer(width, LEVELS, int(np.log2(CODES)))),
}


def quantize(side, vectors):
    """Measures the seconds of fit and encode, the memory growth during encoding, and the distortion."""
    quantizer = QUANTIZERS[side](vectors.shape[1])
    rows = np.sort(np.random.default_rng(0).permutation(len(vectors))[:FIT_ROWS])
    sample = np.ascontiguousarray(vectors[rows], dtype=np.float32)
    _, fit_seconds = timed(partial(quantizer.fit, sample))
    del sample

    def parts():
        for start in range(0, len(vectors), PART):
            yield quantizer.encode(np.array(vectors[start : start + PART], dtype=np.float32))

    def encode_all():
        return np.concatenate(list(parts()))

    (codes, encode_seconds), encode_bytes = more_memory(partial(timed, encode_all), own_memory)
    x = np.array(vectors[:MEASURED_ROWS], dtype=np.float32)
    error = np.square(x - quantizer.decode(codes[: len(x)])).sum(dtype=np.float64)
    variance = np.square(x - x.mean(axis=0)).sum(dtype=np.float64)
    seconds = {"fit_seconds": fit_seconds, "encode_seconds": encode_seconds}
    report(**seconds, encode_bytes=encode_bytes, distortion=error / variance, rows=len(vectors))


def train_ours(vectors, peers):
    """Returns a function that trains as in `RQVAE.fit`, with Adam; as on the other sides, k-means is not timed."""
    sizes = {"n_levels": LEVELS, "codebook_size": CODES, "code_dim": CODE_DIM, "encoder_sizes": HIDDEN}
    tokenizer = RQVAE.from_defaults(text_dim=vectors.shape[1], level_metrics=["euclidean"], **sizes)
    tokenizer.initialise(vectors, seed=0)
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=0.001)

    def fit(batches):
        for x in batches:
            vectors, _, quantization = tokenizer.quantizer(tokenizer.latent(x))
            optimizer.zero_grad()
            (quantization + tokenizer.reconstruction_loss(x, vectors)).mean().backward()
            optimizer.step()

    return fit


def train_botta(vectors, peers):
    """Returns a function that trains as EdoardoBotta/RQ-VAE-Recommender's train_rqvae.py, in straight-through mode."""
    sys.path.insert(0, str(Path(peers) / "RQ-VAE-Recommender"))
    torch.compile = lambda *_, **__: lambda function: function  # compiling a step takes a minute on a CPU
    from modules.quantize import QuantizeForwardMode
    from modules.rqvae import RqVae

    model = RqVae(
        input_dim=vectors.shape[1],
        embed_dim=CODE_DIM,
        hidden_dims=HIDDEN,
        codebook_size=CODES,
        codebook_kmeans_init=False,
        codebook_mode=QuantizeForwardMode.STE,
        n_layers=LEVELS,
        n_cat_features=0,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)

    def fit(batches):
        for x in batches:
            optimizer.zero_grad()
            model(SimpleNamespace(x=x), 0.2).loss.backward()
            optimizer.step()

    return fit


def train_grid(vectors, peers):
    """Returns a function that trains snap-research/GRID's ResidualQuantization as configured by rqvae_train_flat.yaml.

    Lightning runs it. GRID's own command does not start at commit 63e19a8: the yaml names a NormalizeLayer that does
    not exist, and src.utils.utils lacks gumbel_softmax_sample. Here the layer is left out, as on the other sides, and a
    stub replaces the function, which the straight-through mode never calls. Batches come from memory instead of
    TFRecord files, so tensorflow is not imported. GRID's statistics per step (track_residuals, verbose) are off.
    """
    sys.path.insert(0, str(Path(peers) / "GRID"))
    tensorflow = sys.modules["tensorflow"] = MagicMock()
    tensorflow.__spec__ = ModuleSpec("tensorflow", None)
    from src.utils import utils

    utils.gumbel_softmax_sample = None
    from lightning import Trainer
    from src.components.clustering_initializers import RandomInitializer
    from src.components.distance_functions import BetaQuantizationLoss, SquaredEuclideanDistance
    from src.components.quantization_strategies import STEQuantization
    from src.components.training_loop_functions import scale_loss_by_world_size_for_initialization_training_loop
    from src.data.loading.components.interfaces import ItemData
    from src.models.components.network_blocks.mlp import MLP
    from src.modules.clustering.residual_quantization import ResidualQuantization
    from src.modules.clustering.vector_quantization import VectorQuantization

    distance = SquaredEuclideanDistance()
    level = VectorQuantization(
        n_clusters=CODES,
        n_features=CODE_DIM,
        distance_function=distance,
        initializer=RandomInitializer(CODES),
        quantization_strategy=STEQuantization(distance, compute_reconstruction_loss_embeddings=True),
        loss_function=BetaQuantizationLoss(beta=0.25, reduction="mean"),
        optimizer=None,
        init_buffer_size=BATCH,
    )
    module = ResidualQuantization(
        n_layers=LEVELS,
        encoder=MLP(vectors.shape[1], CODE_DIM, list(HIDDEN)),
        decoder=MLP(CODE_DIM, vectors.shape[1], HIDDEN[::-1]),
        quantization_layer=level,
        init_buffer_size=BATCH,
        training_loop_function=scale_loss_by_world_size_for_initialization_training_loop,
        reconstruction_loss_function=torch.nn.MSELoss(),
        reconstruction_loss_weight=1.0,
        normalize_residuals=False,
        optimizer=partial(torch.optim.Adagrad, lr=0.001),
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", max_epochs=1, enable_model_summary=False, **quiet)
    return lambda batches: trainer.fit(
        module, ((ItemData(transformed_features={"input_embedding": x}),) for x in batches)
    )


TRAINERS = {"rqvae": train_ours, "rqvae_botta": train_botta, "rqvae_grid": train_grid}


def train(side, vectors, peers):
    """Measures the seconds per epoch from STEPS steps after WARM_UP steps, at the time when batches are drawn."""
    x, drawn = torch.from_numpy(np.array(vectors, dtype=np.float32)), []
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).split(BATCH)[:-1]

    def batches():
        for n in range(WARM_UP + STEPS + 1):
            drawn.append(perf_counter())
            yield x[rows[n % len(rows)]]

    TRAINERS[side](x, peers)(batches())
    report(seconds_of_an_epoch=(drawn[-1] - drawn[WARM_UP]) / STEPS * len(x) / BATCH, rows=len(x))


def main():
    side, options = arguments()
    vectors = np.load(options["vectors"], mmap_mode="r")[: int(options.get("rows", 0)) or None]
    if side in QUANTIZERS:
        quantize(side, vectors)
    else:
        train(side, vectors, options.get("peers"))


if __name__ == "__main__":
    main()
