"""Contract tests as functions, for tokenizers, backbones, models and text encoders of any package.

Each function takes the name of a part, as in its entry point (see `recbole_unirep.settings.extensions`), or its class.
It checks every promise of the contract on small generated data, and raises AssertionError with a message that names
the broken promise. No test runner is needed; with pytest a test is one line::

    from recbole_unirep.testing import check_backbone, check_model, check_text_encoder, check_tokenizer


    def test_its_tokenizer():
        check_tokenizer("ItsTokenizer", n_levels=3)


    def test_its_backbone():
        check_backbone("ItsBackbone")


    def test_its_model():
        check_model("ItsModel", hidden_size=16)


    def test_its_text_encoder():
        check_text_encoder("ItsTextEncoder")
"""

from recbole_unirep.testing.backbones import check_backbone
from recbole_unirep.testing.models import check_model
from recbole_unirep.testing.text_encoders import check_text_encoder
from recbole_unirep.testing.tokenizers import check_tokenizer

__all__ = ["check_backbone", "check_model", "check_text_encoder", "check_tokenizer"]
