"""RQVAE: an autoencoder of item text embeddings whose middle is a semantic ID.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, Algorithm 1 and A.2.
    Shashank Rajput et al. "Recommender Systems with Generative Retrieval", NeurIPS 2023, arXiv:2305.05065.

The paper does not say how text vectors are scaled; `text_scaling` is ours.
Shapes: N items, D code_dim.
"""

from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.tokenizer.base import Losses, Quantized, SemanticTokenizer, check_option
from recbole_unirep.tokenizer.distance import squared_error
from recbole_unirep.tokenizer.quantizer import CODEBOOK_INITS, ResidualQuantizer
from recbole_unirep.tokenizer.residual import residual_steps

TEXT_SCALINGS = ("none", "unit", "standard")


class RQVAE(SemanticTokenizer):
    """Encoder, residual quantizer and decoder, trained alone by `fit` or inside a recommender by its losses.

    Args:
        text_dim (int): dimensions of an item text embedding.
        encoder_sizes (list of int): hidden layers between text_dim and code_dim; the decoder mirrors them.
        codebook_init (str): first values of the codebooks, 'kmeans', 'sample' or 'normal'.
        text_scaling (str): 'none', 'unit' (length 1) or 'standard' (mean 0, variance 1 over items and dimensions).
        fit_epochs (int): passes over the items in `fit`.
        fit_batch_size (int): items of a step in `fit`.
        fit_learning_rate (float): Adam's learning rate in `fit`.
        fit_dead_code_steps (int): steps of `fit` after which a code that no item chose is moved onto a random residual;
            0 moves none. Inside a recommender whoever trains does it.
        fit_seed (int): seed of `fit`.
        n_levels, codebook_size, code_dim, level_metrics, commitment_weight, residual_gradient, codebook_gradient,
            gradient_estimator, codebook_update, codebook_decay, loss_reduction: see `ResidualQuantizer`;
            `loss_reduction` holds for the reconstruction loss too.

    Raises:
        ValueError: an option is unknown or goes against another, or there is no metric, or more than levels.
    """

    def __init__(
        self,
        *,
        text_dim: int,
        n_levels: int,
        codebook_size: int,
        code_dim: int,
        encoder_sizes: list,
        level_metrics: list,
        commitment_weight: float,
        residual_gradient: str,
        codebook_gradient: bool,
        gradient_estimator: str,
        codebook_update: str,
        codebook_decay: float,
        codebook_init: str,
        text_scaling: str,
        loss_reduction: str,
        fit_epochs: int,
        fit_batch_size: int,
        fit_learning_rate: float,
        fit_dead_code_steps: int,
        fit_seed: int,
    ):
        super().__init__()
        check_option("codebook_init", codebook_init, CODEBOOK_INITS)
        check_option("text_scaling", text_scaling, TEXT_SCALINGS)
        sizes = [text_dim, *encoder_sizes, code_dim]
        self.encoder = perceptron(sizes)
        self.quantizer = ResidualQuantizer(
            n_levels=n_levels,
            codebook_size=codebook_size,
            code_dim=code_dim,
            level_metrics=level_metrics,
            commitment_weight=commitment_weight,
            residual_gradient=residual_gradient,
            codebook_gradient=codebook_gradient,
            gradient_estimator=gradient_estimator,
            codebook_update=codebook_update,
            codebook_decay=codebook_decay,
            loss_reduction=loss_reduction,
        )
        self.decoder = perceptron(sizes[::-1])
        self.register_buffer("text_mean", torch.zeros(text_dim))
        self.register_buffer("text_deviation", torch.ones(()))
        self.text_dim = text_dim
        self.n_levels = n_levels
        self.codebook_size = codebook_size
        self.code_dim = code_dim
        self.codebook_init = codebook_init
        self.text_scaling = text_scaling
        self.loss_reduction = loss_reduction
        self.fit_epochs = fit_epochs
        self.fit_batch_size = fit_batch_size
        self.fit_learning_rate = fit_learning_rate
        self.fit_dead_code_steps = fit_dead_code_steps
        self.fit_seed = fit_seed

    def forward(self, x: Tensor) -> Quantized:
        """Quantized vectors through which later losses reach the encoder.

        With codebook_update 'ema' whoever trains calls `quantizer.ema_update` after each step, as `fit` does.

        Args:
            x (Tensor): item text embeddings, shape: [N, text_dim].

        Returns:
            Quantized: vectors [N, D], codes [N, n_levels] int64, `Losses` of two [N].
        """
        quantized = self.quantizer(self.latent(x))
        reconstruction = self.reconstruction_loss(x, quantized.vectors)
        return quantized._replace(losses=Losses(quantized.losses, reconstruction))

    def latent(self, x: Tensor) -> Tensor:
        """The encoder's output z for item text embeddings x [N, text_dim], shape: [N, D]."""
        return self.encoder(self.scale_text(x))

    def reconstruction_loss(self, x: Tensor, vectors: Tensor) -> Tensor:
        """Squared error between the scaled text and what the decoder makes of the vectors.

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
        """Text embeddings that codes [N, n_levels] stand for, shape: [N, text_dim].

        With text_scaling 'unit' they are of the scaled kind: the lengths are not known any more.
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
        """Item text embeddings as the encoder reads and the decoder aims at them.

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
        """Takes mean and deviation for text_scaling 'standard' from the items that have text.

        One deviation serves all dimensions, so that their variance is 1 on average and their proportions stay.

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
        """Sets text statistics, then codebooks from the encoder's present output for all items.

        Args:
            x (Tensor): text embeddings of the items that have text, shape: [N, text_dim].
            seed (int): the same seed gives the same codebooks.

        Raises:
            ValueError: there is no item, or x has another number of dimensions than text_dim.
        """
        if len(x) == 0:
            raise ValueError("the tokenizer needs the text embedding of at least one item, got none: check text_fields")
        self.set_text_statistics(x)
        if self.quantizer is not None:  # a control without codes takes it away
            self.quantizer.initialise(self.latent(x), self.codebook_init, seed)

    @torch.enable_grad()  # a model is also loaded, and fits its tokenizer, where gradients are off
    def fit(self, x: Tensor) -> "RQVAE":
        """Trains the RQ-VAE alone, from new parameters; torch's global random state is neither read nor changed.

        Args:
            x (Tensor): text embeddings of the items that have text, shape: [N, text_dim].

        Returns:
            RQVAE: itself.
        """
        generator = torch.Generator().manual_seed(self.fit_seed)
        for layer in [*self.encoder, *self.decoder]:
            if isinstance(layer, nn.Linear):
                reset_linear(layer, generator)
        self.initialise(x, self.fit_seed)
        optimizer = torch.optim.Adam(self.parameters(), lr=self.fit_learning_rate)
        is_used, n_steps = torch.zeros_like(self.quantizer.codebooks[..., 0], dtype=torch.bool), 0  # [n_levels, K]
        for _ in range(self.fit_epochs):
            self._begin_epoch(generator)
            for rows in torch.randperm(len(x), generator=generator).split(self.fit_batch_size):
                text = x[rows.to(x.device)]
                latent = self.latent(text)
                vectors, codes, quantization = self.quantizer(latent)
                loss = (quantization + self.reconstruction_loss(text, vectors)).mean()
                optimizer.zero_grad()
                (loss + self._regularization(text, vectors, codes, generator)).backward()
                optimizer.step()
                if self.quantizer.codebook_update == "ema":
                    self.quantizer.ema_update(latent, codes)
                is_used.scatter_(1, codes.T, True)
                n_steps += 1
                if self.fit_dead_code_steps and n_steps % self.fit_dead_code_steps == 0:
                    self.quantizer.move_dead_codes(latent.detach(), is_used, generator)
                    is_used.zero_()
        optimizer.zero_grad()
        return self

    def _begin_epoch(self, generator):
        """What a subclass does before each epoch of `fit`."""

    def _regularization(self, x, vectors, codes, generator):
        """What a subclass adds to the loss of a step of `fit`, shape: []."""
        return 0.0

    def _read_text(self, x: Tensor) -> Tensor:
        """Item text embeddings [N, text_dim] in the type of the parameters; ValueError for another width."""
        if x.shape[-1] != self.text_dim:
            raise ValueError(
                f"item text embeddings have {x.shape[-1]} dimensions, the tokenizer was made for text_dim "
                f"{self.text_dim}: use the vectors of one text encoder"
            )
        return x.to(self.text_mean.dtype)


def perceptron(sizes: list) -> nn.Sequential:
    """Linear layers with ReLU between them and none at the end."""
    layers = []
    for size, next_size in zip(sizes, sizes[1:]):
        layers += [nn.Linear(size, next_size), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def reset_linear(layer: nn.Linear, generator: torch.Generator) -> None:
    """Gives a layer PyTorch's own kind of first values, drawn from `generator` on the CPU."""
    bound = layer.in_features**-0.5
    for parameter in (layer.weight, layer.bias):
        parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
