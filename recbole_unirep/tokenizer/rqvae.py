"""RQVAE: an autoencoder of item text embeddings whose bottleneck is a semantic ID.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, Algorithm 1 and A.2.
    Shashank Rajput et al. "Recommender Systems with Generative Retrieval", NeurIPS 2023, arXiv:2305.05065.

The paper does not say how text vectors are scaled; `text_scaling` is ours.
Shapes: N items, B items of a step, D code_dim, K codebook_size.
"""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.tokenizer.autoencoder_fit import AutoencoderFit, train_autoencoder
from recbole_unirep.tokenizer.base import TrainedTokenizer, built, check_option
from recbole_unirep.tokenizer.distance import squared_error
from recbole_unirep.tokenizer.perceptron import Perceptron
from recbole_unirep.tokenizer.quantizer import CODEBOOK_INITS, ResidualQuantizer
from recbole_unirep.tokenizer.residual import residual_steps

TEXT_SCALINGS = ("none", "unit", "standard")


class RQVAE(TrainedTokenizer):
    """Encoder, residual quantizer and decoder, trained alone by `fit` or inside a recommender by its losses.

    Args:
        encoder (Perceptron): from text_dim to code_dim.
        quantizer (ResidualQuantizer): its `loss_reduction` also holds for the reconstruction loss.
        decoder (Perceptron): from code_dim to text_dim.
        codebook_init (str): initialization of the codebooks, 'kmeans', 'sample' or 'normal'.
        text_scaling (str): 'none', 'unit' (normalized) or 'standard' (mean 0, variance 1 over items and dimensions).
        fit_settings (AutoencoderFit): settings of the training by `fit`.

    Raises:
        ValueError: an option is unknown.
    """

    def __init__(
        self,
        *,
        encoder: Perceptron,
        quantizer: ResidualQuantizer,
        decoder: Perceptron,
        codebook_init: str,
        text_scaling: str,
        fit_settings: AutoencoderFit,
    ):
        super().__init__()
        check_option("codebook_init", codebook_init, CODEBOOK_INITS)
        check_option("text_scaling", text_scaling, TEXT_SCALINGS)
        self.encoder, self.quantizer, self.decoder = encoder, quantizer, decoder
        self.text_dim = encoder[0].in_features
        self.n_levels, self.codebook_size, self.code_dim = quantizer.codebooks.shape
        self.loss_reduction = quantizer.loss_reduction
        self.codebook_init, self.text_scaling, self.fit_settings = codebook_init, text_scaling, fit_settings
        self.register_buffer("text_mean", torch.zeros(self.text_dim))
        self.register_buffer("text_deviation", torch.ones(()))

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> "RQVAE":
        """Builds a tokenizer from yaml keys and text_dim.

        Keys: `encoder_sizes`, the hidden layers between text_dim and code_dim, which the decoder mirrors; those of
        `ResidualQuantizer.from_keys` and of `AutoencoderFit`; and the arguments that are no parts.
        """
        sizes = [keys["text_dim"], *keys["encoder_sizes"], keys["code_dim"]]
        return built(
            cls,
            keys,
            encoder=Perceptron(sizes),  # first values are drawn in this order
            quantizer=ResidualQuantizer.from_keys(keys),
            decoder=Perceptron(sizes[::-1]),
            fit_settings=built(AutoencoderFit, keys),
        )

    @property
    def text_statistics(self) -> tuple:
        return self.text_mean, self.text_deviation

    def latent(self, x: Tensor) -> Tensor:
        """The encoder's output z for item text embeddings x [N, text_dim], shape: [N, D]."""
        return self.encoder(self.scale_text(x))

    def reconstruction_loss(self, x: Tensor, vectors: Tensor) -> Tensor:
        """Squared error between the scaled text and the decoded vectors.

        Args:
            x (Tensor): item text embeddings, shape: [N, text_dim].
            vectors (Tensor): quantized vectors, shape: [N, D].

        Returns:
            Tensor: one loss per item, shape: [N].
        """
        return squared_error(self.decoder(vectors), self.scale_text(x), self.loss_reduction)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Codes of item text embeddings x [N, text_dim], int64, shape: [N, n_levels]."""
        return self.quantizer.encode(self.latent(x))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Text embeddings that codes [N, n_levels] approximate, shape: [N, text_dim].

        With text_scaling 'unit' they approximate the scaled text, since the lengths are lost.
        """
        return self.decoder(self.quantizer.decode(codes)) * self.text_deviation + self.text_mean

    @torch.no_grad()
    def approximations(self, x: Tensor, codes: Tensor) -> tuple:
        return self.latent(x), accumulate(residual_steps(self.quantizer.codebooks, codes))

    @torch.no_grad()
    def last_level(self, x: Tensor, codes: Tensor) -> tuple:
        """Residuals that the last level quantizes [N, D] and its codebook [K, D]."""
        codebooks = self.quantizer.codebooks
        return self.latent(x) - sum(residual_steps(codebooks[:-1], codes)), codebooks[-1]

    def scale_text(self, x: Tensor) -> Tensor:
        """Item text embeddings as the encoder reads them and the decoder reconstructs them.

        Args:
            x (Tensor): item text embeddings of any float type, shape: [N, text_dim].

        Returns:
            Tensor: scaled, in the type of the parameters, shape: [N, text_dim].

        Raises:
            ValueError: x has another number of dimensions than text_dim.
        """
        x = self._read_text(x)
        if self.text_scaling == "unit":
            return functional.normalize(x, dim=-1)
        return (x - self.text_mean) / self.text_deviation

    @torch.no_grad()
    def set_text_statistics(self, x: Tensor) -> None:
        """Computes mean and deviation for text_scaling 'standard' from the items that have text.

        One deviation is shared by all dimensions: their variance is 1 on average, and their proportions stay.

        Args:
            x (Tensor): item text embeddings of any float type, shape: [N, text_dim].

        Raises:
            ValueError: x has another number of dimensions than text_dim.
        """
        x = self._read_text(x)
        if self.text_scaling != "standard":
            return
        deviation = x.var(dim=0, unbiased=False).mean().sqrt()
        self.text_mean.copy_(x.mean(dim=0))
        self.text_deviation.copy_(deviation if deviation > 0 else torch.ones_like(deviation))

    @torch.no_grad()
    def initialise(self, x: Tensor, seed: int) -> None:
        """Sets text statistics, then codebooks from the encoder's current output for all items.

        Args:
            x (Tensor): text embeddings of the items that have text, shape: [N, text_dim].
            seed (int): the same seed gives the same codebooks.

        Raises:
            ValueError: there is no item, or x has another number of dimensions than text_dim.
        """
        if len(x) == 0:
            raise ValueError("the tokenizer needs the text embedding of at least one item, got none: check text_fields")
        self.set_text_statistics(x)
        if self.quantizer is not None:
            self.quantizer.initialise(self.latent(x), self.codebook_init, seed)

    @torch.no_grad()
    def fit_codes(self, x: Tensor, seed: int) -> None:
        """Fits the codebooks to the encoder's current output, see `ResidualQuantizer.fit`; arguments as there.

        Args:
            x (Tensor): text embeddings of the items that have text, shape: [N, text_dim].
            seed (int): the same seed gives the same codebooks.
        """
        self.quantizer.fit(self.latent(x), seed)

    @torch.enable_grad()  # loading a run, which may fit its tokenizer, turns gradients off
    def fit(self, x: Tensor) -> "RQVAE":
        """Trains the RQ-VAE alone, from new parameters, without reading or changing torch's global random state.

        Args:
            x (Tensor): text embeddings of the items that have text, shape: [N, text_dim].

        Returns:
            RQVAE: itself.
        """
        seed = self.fit_settings.fit_seed
        generator = torch.Generator().manual_seed(seed)
        for layer in [*self.encoder, *self.decoder]:
            if isinstance(layer, nn.Linear):
                reset_linear(layer, generator)
        self.initialise(x, seed)
        train_autoencoder(self, x, self.fit_settings, generator)
        return self

    def begin_epoch(self, generator: torch.Generator) -> None:
        """Called before each epoch of `fit`; a subclass may draw from `generator`."""

    def regularization(self, x: Tensor, vectors: Tensor, codes: Tensor, generator: torch.Generator) -> Any:
        """What a subclass adds to the loss of a step of `fit`.

        Args:
            x (Tensor): vectors of the step as `fit` was given them, shape: [B, text_dim].
            vectors (Tensor): quantized, shape: [B, D].
            codes (Tensor): shape: [B, n_levels].
            generator (torch.Generator): source of draws, on the CPU.

        Returns:
            Tensor or float: shape: [].
        """
        return 0.0

    def _read_text(self, x: Tensor) -> Tensor:
        """Item text embeddings [N, text_dim] in the type of the parameters; ValueError for another width."""
        if x.shape[-1] != self.text_dim:
            raise ValueError(
                f"item text embeddings have {x.shape[-1]} dimensions, the tokenizer was made for text_dim "
                f"{self.text_dim}: use the vectors of one text encoder"
            )
        return x.to(self.text_mean.dtype)


@torch.no_grad()
def reset_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    """Draws first values as PyTorch's own `nn.Linear` does, but from `generator`, on the CPU."""
    bound = layer.in_features**-0.5
    for parameter in (layer.weight, layer.bias):
        parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
