"""recbole_unirep.modules.codebook_steps: what a training step does to UniRep's codebooks beside their losses."""

import torch

from recbole_unirep import parallel


@torch.no_grad()
def move_codebooks(model, encoded):
    """With codebook_update 'ema' the codebooks follow the encoded items that have text; dead codes get new places.

    Args:
        model (UniRep): its codebooks, and its buffers of dead codes, are changed.
        encoded (EncodedItems): items of the step.
    """
    quantizer = model.item_embedding.tokenizer.quantizer
    with torch.autocast(encoded.latent.device.type, enabled=False):  # rounded scores would choose other codes
        if quantizer.codebook_update == "ema":
            has_text = model.has_text[encoded.items]
            quantizer.follow(encoded.latent[has_text], encoded.codes[has_text])
        if model.quantization.dead_code_steps:
            _move_dead_codes(model, quantizer, encoded)
    if quantizer.codebook_update == "ema":  # sums whose order a GPU does not fix
        for state in (quantizer.codebooks, quantizer.code_counts, quantizer.code_sums):
            parallel.copy_from_main(state)


def _move_dead_codes(model, quantizer, encoded):
    """Every `dead_code_steps` training steps, moves codes unused since then onto random residuals."""
    model.code_is_used.scatter_(1, encoded.codes.T, True)
    model.n_steps_counted.add_(1)
    if model.n_steps_counted < model.quantization.dead_code_steps:
        return
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    quantizer.move_dead_codes(encoded.latent, model.code_is_used, generator)
    parallel.copy_from_main(quantizer.codebooks.data)  # the draw is each process' own
    model.code_is_used.zero_()
    model.n_steps_counted.zero_()
