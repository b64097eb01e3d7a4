"""How weights start. The paper does not say; these are the three usual ways, by name."""

import math

from torch import nn

from stepwise_core.components.positional_encoding import LearnedEncoding

# Last matrix of every sublayer: what it writes to the residual stream.
RESIDUAL_PROJECTION = "output_projection"


def initialize(model: nn.Module, scheme: str, *, d_model: int, n_sublayers: int) -> None:
    """Initialise all weights of a model in place, from torch's global random generator.

    | scheme         | matrices (out, in)                                         | embeddings       |
    |----------------|------------------------------------------------------------|------------------|
    | xavier_uniform | U(-a, a), a = sqrt(6 / (in + out)) (Glorot and Bengio, 2010)| N(0, 1/D)        |
    | normal         | N(0, 0.02^2) (Devlin et al., 2018)                          | N(0, 0.02^2)     |
    | scaled_normal  | N(0, 1/in); what writes to the residual stream divided by   | N(0, 1/D)        |
    |                | sqrt(sublayers) (after Radford et al., 2019)                |                  |

    Biases start at zero, norms at one, learned positions at N(0, 0.02^2).

    Args:
        model: the model.
        scheme: name of the scheme.
        d_model: D.
        n_sublayers: sublayers that add to one residual stream, in the deeper of the stacks (scaled_normal).
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            _initialize_matrix(module, scheme, n_sublayers if name.endswith("." + RESIDUAL_PROJECTION) else 1)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02 if scheme == "normal" else d_model**-0.5)
        elif isinstance(module, LearnedEncoding):
            nn.init.normal_(module.table, std=0.02)


def _initialize_matrix(linear: nn.Linear, scheme: str, n_sublayers: int) -> None:
    if scheme == "xavier_uniform":
        nn.init.xavier_uniform_(linear.weight)
    elif scheme == "normal":
        nn.init.normal_(linear.weight, std=0.02)
    else:
        nn.init.normal_(linear.weight, std=1.0 / math.sqrt(linear.in_features * n_sublayers))
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
