"""recbole_unirep.modules.codebook_steps: how a training step moves UniRep's codebooks, apart from their losses."""

import torch

from recbole_unirep import parallel


@torch.no_grad()
def move_codebooks(model, encoded):
    """Updates EMA codebooks by the encoded items that have text, and moves dead codes.

    Args:
        model (UniRep): its codebooks and its counts of dead codes are changed.
        encoded (EncodedItems): items of the step.
    """
    quantizer = model.item_embedding.tokenizer.quantizer
    with torch.autocast(encoded.latent.device.type, enabled=False):  # rounded scores would choose other codes
        if quantizer.ema_state:
            has_text = model.has_text[encoded.items]
            quantizer.ema_update(encoded.latent[has_text], encoded.codes[has_text])
        if model.quantization.dead_code_steps:
            _move_dead_codes(model, quantizer, encoded)
    for state in quantizer.ema_state:  # a GPU does not fix the order of their sums
        parallel.copy_from_main(state)


def _move_dead_codes(model, quantizer, encoded):
    """Every `dead_code_steps` training steps, moves the codes unused since the last time onto random residuals."""
    model.code_is_used.scatter_(1, encoded.codes.T, True)
    model.n_steps_counted.add_(1)
    if model.n_steps_counted < model.quantization.dead_code_steps:
        return
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    quantizer.move_dead_codes(encoded.latent, model.code_is_used, generator)
    parallel.copy_from_main(quantizer.codebooks.data)  # each process draws its own residuals
    model.code_is_used.zero_()
    model.n_steps_counted.zero_()
