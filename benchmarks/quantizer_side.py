"""One side of the tokenizers' benchmark: fit on a sample, encode all, one JSON line.

    python benchmarks/quantizer_side.py SIDE --vectors=FILE.npy [--peers=FOLDER]

Quantizers have LEVELS codes of CODES values each; all sides fit on the same rows and encode the memory-mapped file part
by part. Distortion is the mean squared error in proportion to the variance of the vectors, over at most 100,000 rows.
The RQ-VAE sides train epochs over the same rows at the same sizes.
"""

import sys
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import faiss
import numpy as np
import torch
from measure import arguments, report, timed

from recbole_unirep.tokenizer.pq import PQ
from recbole_unirep.tokenizer.rqkmeans import RQKMeans
from recbole_unirep.tokenizer.rqvae import RQVAE

LEVELS, CODES, FIT_ROWS, PART, MEASURED_ROWS = 4, 256, 65_536, 2**15, 100_000
ITERATIONS, BATCH, STEPS = 25, 256, 100
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
    """ResidualVQ of vector-quantize-pytorch: k-means from the first batch, then moving averages; as many passes."""

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
    """Seconds of fit and of encode, and distortion."""
    quantizer = QUANTIZERS[side](vectors.shape[1])
    rows = np.sort(np.random.default_rng(0).permutation(len(vectors))[:FIT_ROWS])
    sample = np.ascontiguousarray(vectors[rows], dtype=np.float32)
    _, fit_seconds = timed(partial(quantizer.fit, sample))
    del sample

    def encode_all():
        for start in range(0, len(vectors), PART):
            yield quantizer.encode(np.array(vectors[start : start + PART], dtype=np.float32))

    codes, encode_seconds = timed(lambda: np.concatenate(list(encode_all())))
    x = np.array(vectors[:MEASURED_ROWS], dtype=np.float32)
    error = np.square(x - quantizer.decode(codes[: len(x)])).sum(dtype=np.float64)
    variance = np.square(x - x.mean(axis=0)).sum(dtype=np.float64)
    report(fit_seconds=fit_seconds, encode_seconds=encode_seconds, distortion=error / variance, rows=len(vectors))


def train_ours(vectors):
    """Steps of `RQVAE.fit`, Adam, k-means initialisation left out of the time as on the other side."""
    sizes = {"n_levels": LEVELS, "codebook_size": CODES, "code_dim": CODE_DIM, "encoder_sizes": HIDDEN}
    tokenizer = RQVAE.from_defaults(text_dim=vectors.shape[1], level_metrics=["euclidean"], **sizes)
    x = torch.from_numpy(np.array(vectors))
    tokenizer.initialise(x, seed=0)
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=0.001)

    def step(rows):
        losses = tokenizer(x[rows]).losses
        optimizer.zero_grad()
        (losses.quantization + losses.reconstruction).mean().backward()
        optimizer.step()

    return x, step


def train_botta(vectors, peers):
    """Steps of EdoardoBotta/RQ-VAE-Recommender's train_rqvae.py, its straight-through mode, without torch.compile."""
    sys.path.insert(0, str(Path(peers) / "RQ-VAE-Recommender"))
    torch.compile = lambda *_, **__: lambda function: function  # a compiled step takes a minute to begin on a CPU
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
    x = torch.from_numpy(np.array(vectors))

    def step(rows):
        optimizer.zero_grad()
        model(SimpleNamespace(x=x[rows]), 0.2).loss.backward()
        optimizer.step()

    return x, step


def train(side, vectors, peers):
    x, step = train_ours(vectors) if side == "rqvae" else train_botta(vectors, peers)
    generator = torch.Generator().manual_seed(0)
    batches = torch.randperm(len(x), generator=generator).split(BATCH)
    step(batches[0])
    _, seconds = timed(lambda: [step(batches[n % (len(batches) - 1)]) for n, _ in zip(count(), range(STEPS))])
    report(seconds_of_an_epoch=seconds / STEPS * len(x) / BATCH, rows=len(x))


def main():
    side, options = arguments()
    vectors = np.load(options["vectors"], mmap_mode="r")
    if side in QUANTIZERS:
        quantize(side, vectors)
    else:
        train(side, vectors, options.get("peers"))


if __name__ == "__main__":
    main()
