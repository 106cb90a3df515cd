"""Contract tests as functions: whoever writes a tokenizer, a backbone, a model or a text encoder runs them on it.

Each function takes the name of a part, as its entry point gives it (see `recbole_unirep.settings.extensions`), or its
class. It checks every promise of the contract on small data that it makes itself, and raises AssertionError with a
sentence that names the broken one. They need no test runner; with pytest a test is a line::

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
