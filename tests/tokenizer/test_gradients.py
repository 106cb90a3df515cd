"""Which loss trains which part, with gradients derived by hand.

The case: the encoder is the identity, so z = x = (3, 1); the decoder doubles. Level 1 chooses e_1 = (2, 2) and leaves
(1, -1); level 2 chooses e_2 = (0.5, -0.5); so z_hat = (2.5, 1.5) and the decoder gives (5, 3). beta is 0.25.
"""

import pytest
import torch

from recbole_unirep.tokenizer.gradients import Rotation
from recbole_unirep.tokenizer.rqvae import RQVAE

X = torch.tensor([[3.0, 1.0]])
NOTHING = [[0.0, 0.0], [0.0, 0.0]]
SETTINGS = [(residual, codebook) for residual in ("detached", "as_printed") for codebook in (False, True)]


def make_case(residual_gradient, codebook_gradient):
    tokenizer = RQVAE.from_defaults(
        text_dim=2,
        n_levels=2,
        codebook_size=2,
        code_dim=2,
        encoder_sizes=[],
        level_metrics=["euclidean", "euclidean"],
        commitment_weight=0.25,
        residual_gradient=residual_gradient,
        codebook_gradient=codebook_gradient,
        text_scaling="none",
        loss_reduction="sum",
    )
    with torch.no_grad():
        for layer, factor in ((tokenizer.encoder[0], 1.0), (tokenizer.decoder[0], 2.0)):
            layer.weight.copy_(factor * torch.eye(2))
            layer.bias.zero_()
        tokenizer.quantizer.codebooks[0] = torch.tensor([[-5.0, -5.0], [2.0, 2.0]])
        tokenizer.quantizer.codebooks[1] = torch.tensor([[0.5, -0.5], [-9.0, 9.0]])
    return tokenizer


def forward(tokenizer):
    """Vectors, codes, quantization loss and reconstruction loss of the case."""
    vectors, codes, losses = tokenizer.quantizer(tokenizer.latent(X))
    return vectors, codes, losses, tokenizer.reconstruction_loss(X, vectors)


def gradients(tokenizer, loss):
    """Gradients of a loss at the encoder's output, the codebooks and the decoder, zeros if there is none.

    The gradient of the encoder's bias is that of its output z.
    """
    encoder, decoder = tokenizer.encoder[0], tokenizer.decoder[0]
    parameters = [encoder.bias, encoder.weight, tokenizer.quantizer.codebooks, decoder.bias, decoder.weight]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    found = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found)]
    z, encoder_weight, codebooks, decoder_bias, decoder_weight = found
    assert torch.equal(encoder_weight, torch.outer(z, X[0]))
    return z.tolist(), codebooks.tolist(), decoder_bias.tolist(), decoder_weight.tolist()


@pytest.mark.parametrize(("residual_gradient", "codebook_gradient"), SETTINGS)
def test_the_case_has_the_values_of_the_module_docstring(residual_gradient, codebook_gradient):
    vectors, codes, quantization, reconstruction = forward(make_case(residual_gradient, codebook_gradient))
    assert codes.tolist() == [[1, 0]]
    assert vectors.tolist() == [[2.5, 1.5]]
    assert quantization.tolist() == [(2 + 0.5) * 1.25]
    assert reconstruction.tolist() == [2.0**2 + 2.0**2]


@pytest.mark.parametrize(("residual_gradient", "codebook_gradient"), SETTINGS)
def test_quantization_loss_trains_encoder_and_codebooks_but_not_the_decoder(residual_gradient, codebook_gradient):
    tokenizer = make_case(residual_gradient, codebook_gradient)
    z, codebooks, *decoder = gradients(tokenizer, forward(tokenizer)[2].sum())
    # 2 beta (r_1 - e_1) + 2 beta (r_2 - e_2) = 0.5 (1, -1) + 0.5 (0.5, -0.5)
    assert z == [0.75, -0.75]
    # detached: 2 (e_1 - r_1) = (-2, 2); as printed, r_2 = r_1 - e_1 adds -2 beta (r_2 - e_2) = (-0.25, 0.25)
    first = {"detached": [-2.0, 2.0], "as_printed": [-2.25, 2.25]}[residual_gradient]
    # 2 (e_2 - r_2) = (-1, 1) in both
    assert codebooks == [[[0.0, 0.0], first], [[-1.0, 1.0], [0.0, 0.0]]]
    assert decoder == [[0.0, 0.0], NOTHING]


@pytest.mark.parametrize(("residual_gradient", "codebook_gradient"), SETTINGS)
def test_reconstruction_loss_trains_encoder_decoder_and_optionally_codebooks(residual_gradient, codebook_gradient):
    tokenizer = make_case(residual_gradient, codebook_gradient)
    z, codebooks, decoder_bias, decoder_weight = gradients(tokenizer, forward(tokenizer)[3].sum())
    # The decoder's error is (5, 3) - (3, 1) = (2, 2); twice that, times its slope 2, reaches its input.
    assert z == [8.0, 8.0]
    chosen = [8.0, 8.0] if codebook_gradient else [0.0, 0.0]
    assert codebooks == [[[0.0, 0.0], chosen], [chosen, [0.0, 0.0]]]
    assert decoder_bias == [4.0, 4.0]
    assert decoder_weight == [[4 * 2.5, 4 * 1.5], [4 * 2.5, 4 * 1.5]]


@pytest.mark.parametrize(("residual_gradient", "codebook_gradient"), SETTINGS)
def test_downstream_loss_trains_the_encoder_and_optionally_codebooks(residual_gradient, codebook_gradient):
    tokenizer = make_case(residual_gradient, codebook_gradient)
    z, codebooks, *decoder = gradients(tokenizer, (forward(tokenizer)[0] * torch.tensor([1.0, 2.0])).sum())
    assert z == [1.0, 2.0]
    chosen = [1.0, 2.0] if codebook_gradient else [0.0, 0.0]
    assert codebooks == [[[0.0, 0.0], chosen], [chosen, [0.0, 0.0]]]
    assert decoder == [[0.0, 0.0], NOTHING]


def test_rotation_rotates_and_scales_the_gradient_as_z_onto_z_hat():
    """In the plane: z = (3, 1) is rotated onto (2.5, 1.5) by the angle between them, and scaled."""
    z = torch.tensor([[3.0, 1.0]], dtype=torch.float64, requires_grad=True)
    z_hat = torch.tensor([[2.5, 1.5]], dtype=torch.float64)
    moved = Rotation.apply(z, z_hat)
    assert torch.equal(moved, z_hat)
    angle = torch.atan2(z_hat[0, 1], z_hat[0, 0]) - torch.atan2(z[0, 1], z[0, 0]).detach()
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2) * z_hat.norm() / z.norm()
    torch.testing.assert_close(turn @ z[0], z_hat[0])
    gradient = torch.tensor([[1.0, -4.0]], dtype=torch.float64)
    (found,) = torch.autograd.grad(moved, z, gradient)
    torch.testing.assert_close(found[0], (turn.T @ gradient[0]).detach())


def test_rotation_in_many_dimensions_is_a_rotation_and_a_scaling():
    """The linear map behind the gradient sends z onto z_hat and keeps proportions; a latent of zeros stays finite."""
    generator = torch.Generator().manual_seed(0)
    z, z_hat = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64).unbind()
    jacobian = torch.autograd.functional.jacobian
    maps = [jacobian(lambda x, h=h: Rotation.apply(x[None], h[None])[0], x) for x, h in zip(z, z_hat)]
    maps = torch.stack(maps)  # [5, 7, 7]
    torch.testing.assert_close((maps @ z[..., None])[..., 0], z_hat)
    stretch = z_hat.norm(dim=1) / z.norm(dim=1)
    torch.testing.assert_close(maps.transpose(1, 2) @ maps, stretch.square()[:, None, None] * torch.eye(7).double())
    zero = torch.zeros(1, 7, requires_grad=True)
    assert torch.autograd.grad(Rotation.apply(zero, torch.zeros(1, 7)).sum(), zero)[0].isfinite().all()


def test_a_tokenizer_passes_gradients_on_by_rotation():
    tokenizer = make_case("detached", False)
    tokenizer.quantizer.gradients = tokenizer.quantizer.gradients._replace(gradient_estimator="rotation")
    weight = torch.tensor([[1.0, -4.0]])
    vectors, codes = tokenizer.quantizer.quantize(tokenizer.latent(X))
    z, codebooks, *_ = gradients(tokenizer, (vectors * weight).sum())
    x = X.clone().requires_grad_()
    expected = torch.autograd.grad(Rotation.apply(x, torch.tensor([[2.5, 1.5]])), x, weight)[0][0]
    assert z == expected.tolist() and codebooks == [NOTHING, NOTHING]
    assert vectors.tolist() == [[2.5, 1.5]]


def test_rotation_and_gradients_to_the_codes_exclude_each_other():
    with pytest.raises(ValueError, match="gradient_estimator=rotation.*codebook_gradient=False"):
        RQVAE.from_defaults(text_dim=2, gradient_estimator="rotation", codebook_gradient=True)
    with pytest.raises(ValueError, match="gradient_estimator is 'turn'.*straight_through, rotation"):
        RQVAE.from_defaults(text_dim=2, gradient_estimator="turn")
