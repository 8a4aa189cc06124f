"""Fine-tuned runs as ordinary Hugging Face folders.

With this package imported, transformers' Auto classes load a folder that needs :mod:`xling.exporting.modeling_xling` without
``trust_remote_code=True``, from the installed code rather than from the folder's copy.
"""

from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from xling.exporting.modeling_xling import (
    XlingConfig,
    XlingForQuestionAnswering,
    XlingForSequenceClassification,
    XlingForTokenClassification,
)

AutoConfig.register("xling", XlingConfig, exist_ok=True)
AutoModelForSequenceClassification.register(XlingConfig, XlingForSequenceClassification, exist_ok=True)
AutoModelForTokenClassification.register(XlingConfig, XlingForTokenClassification, exist_ok=True)
AutoModelForQuestionAnswering.register(XlingConfig, XlingForQuestionAnswering, exist_ok=True)
