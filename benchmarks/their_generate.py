"""The same beam search by transformers' `generate` with `prefix_allowed_tokens_fn`, over its T5 with our weights."""

import torch
from their_t5 import copy_stack
from transformers import GenerationMixin, T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.t5.modeling_t5 import T5PreTrainedModel, T5Stack


class OfTheirLevel(T5ForConditionalGeneration):
    """The T5 of transformers, with a softmax over the codes of the next level only, as in ours."""

    def forward(self, *positional, **named):
        past = named.get("past_key_values")
        level = 0 if past is None else past.get_seq_length()  # read before the call extends it
        output = super().forward(*positional, **named)
        hide_other_levels(output.logits, self.levels, level)
        return output


class DecoderOfTheirLevel(T5PreTrainedModel, GenerationMixin):
    """The decoder stack of transformers' T5 alone, which reads the history and continues with the ID."""

    def __init__(self, config):
        super().__init__(config)
        self.decoder = T5Stack(config)
        self.post_init()

    def forward(self, input_ids=None, inputs_embeds=None, attention_mask=None, past_key_values=None, **_):
        output = self.decoder(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            use_cache=True,
        )
        states = output.last_hidden_state[:, -1:] * self.config.d_model**-0.5
        logits = states @ self.decoder.embed_tokens.weight.T
        hide_other_levels(logits, self.levels, output.past_key_values.get_seq_length() - self.n_history)
        return CausalLMOutputWithPast(logits=logits, past_key_values=output.past_key_values)


def hide_other_levels(logits, levels, level):
    """Keeps only the logits of one level, in place; after the last level, the logits of the last level."""
    first, last = levels[min(level, len(levels) - 1)]
    logits[..., :first] = logits[..., last:] = -torch.inf


class HuggingFace:
    """transformers' `generate`; a dict maps each prefix to its allowed tokens."""

    def __init__(self, model, n_beams):
        self.model, self.n_beams = model, n_beams
        self.t5 = (causal_t5 if model.transformer.encoder is None else whole_t5)(model).eval()
        sizes, firsts = model.ids.codebook_sizes, model.ids.first_token.tolist()
        self.t5.levels = [(first, first + size) for first, size in zip(firsts, sizes)]
        self.following = {}
        for tokens in (model.ids.codes[1:] + model.ids.first_token).tolist():
            for level, token in enumerate(tokens):
                self.following.setdefault(tuple(tokens[:level]), set()).add(token)
        self.following = {prefix: sorted(tokens) for prefix, tokens in self.following.items()}

    @torch.no_grad()
    def __call__(self, batch):
        items = batch[self.model.ITEM_SEQ][:, : int(batch[self.model.ITEM_SEQ_LEN].max())]
        x, is_read = self.model.embedded(batch[self.model.USER_ID], items)
        n_opening = 1  # the decoder of transformers begins with a start token
        if self.model.transformer.encoder is None:
            n_opening = 0
            x, is_read = padded_on_the_left(x, is_read)
            self.t5.n_history = x.shape[1]
        output = self.t5.generate(
            inputs_embeds=x,
            attention_mask=is_read.long(),
            num_beams=self.n_beams,
            num_return_sequences=self.n_beams,
            max_new_tokens=self.model.ids.n_levels,
            length_penalty=0.0,
            do_sample=False,
            prefix_allowed_tokens_fn=lambda _, written: self.following.get(tuple(written[n_opening:].tolist()), [0]),
            return_dict_in_generate=True,
            output_scores=True,
        )
        codes = output.sequences[:, n_opening:] - self.model.ids.first_token
        return codes.unflatten(0, (len(items), -1)), output.sequences_scores.unflatten(0, (len(items), -1))


def whole_t5(model):
    """Returns encoder and decoder with our weights."""
    t5 = OfTheirLevel(t5_config(model, num_layers=len(model.transformer.encoder.blocks)))
    with torch.no_grad():
        t5.shared.weight.copy_(model.transformer.tokens.weight)
        t5.lm_head.weight.copy_(model.transformer.tokens.weight)
    copy_stack(model.transformer.encoder, t5.encoder)
    copy_stack(model.transformer.stack, t5.decoder)
    return t5


def causal_t5(model):
    """Returns the decoder alone with our weights."""
    stack = t5_config(model, num_layers=len(model.transformer.stack.blocks), is_decoder=True, is_encoder_decoder=False)
    t5 = DecoderOfTheirLevel(stack)
    with torch.no_grad():
        t5.decoder.embed_tokens.weight.copy_(model.transformer.tokens.weight)
    copy_stack(model.transformer.stack, t5.decoder)
    return t5


def t5_config(model, **more):
    """Returns our sizes as a config of transformers."""
    block = model.transformer.stack.blocks[0]
    n_heads, head_size = block.attention.shape
    return T5Config(
        vocab_size=model.transformer.tokens.num_embeddings,
        d_model=model.transformer.tokens.embedding_dim,
        d_kv=head_size,
        d_ff=block.inner.out_features,
        num_decoder_layers=len(model.transformer.stack.blocks),
        num_heads=n_heads,
        relative_attention_num_buckets=model.transformer.stack.n_buckets,
        relative_attention_max_distance=model.transformer.stack.max_distance,
        eos_token_id=None,
        decoder_start_token_id=0,
        **more,
    )


def padded_on_the_left(x, is_read):
    """Moves the padding of embedded histories [B, S, H] to the left, where transformers expects it in prompts."""
    length = is_read.sum(dim=1, keepdim=True)
    place = (torch.arange(x.shape[1]) + length) % x.shape[1]
    return x.gather(1, place[..., None].expand_as(x)), is_read.gather(1, place)
