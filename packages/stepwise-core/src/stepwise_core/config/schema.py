"""The configuration tree: every setting of a run, typed, with its meaning and default.

Sections: `model`, `data`, `tokenizer`, `training`, `evaluation`, `logging`. The defaults are those of
"Attention Is All You Need" (Vaswani et al., 2017); `presets.py` lists what the `modern` preset changes.
Mistakes that need two keys to see (d_model against n_heads, say) are checked at the end of each section.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from stepwise_core.config.section import Section, fail

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]

DataVersion = Annotated[
    str,
    BeforeValidator(
        lambda value: str(value) if type(value) is int else value
    ),  # YAML takes some hashes for numbers
    Field(pattern=r"^([0-9a-f]{16}|\d+\.\d+\.\d+)$"),
]

AttentionPath = Literal["fast", "reference"]
Activation = Literal["relu", "gelu", "silu", "reglu", "geglu", "swiglu"]
Positions = Literal["sinusoidal", "learned", "rotary"]
Norm = Literal["layernorm", "rmsnorm"]
NormPosition = Literal["post", "pre"]
Tying = Literal["none", "decoder", "all"]
Initialization = Literal["xavier_uniform", "normal", "scaled_normal"]
Schedule = Literal["noam", "inverse_sqrt", "cosine", "wsd", "linear", "constant"]


class ModelConfig(Section):
    """Architecture of the encoder-decoder."""

    type: Literal["transformer"] = "transformer"
    """Kind of model: `transformer` is the encoder-decoder of the paper."""
    d_model: PositiveInt = 512
    """Width of every token's vector (paper, section 3.2)."""
    n_heads: PositiveInt = 8
    """Attention heads; must divide d_model."""
    n_kv_heads: PositiveInt | None = None
    """Key/value heads of grouped-query attention (Ainslie et al., 2023); null = n_heads. Must divide n_heads."""
    n_layers: PositiveInt = 6
    """Layers of the encoder and of the decoder."""
    n_encoder_layers: PositiveInt | None = None
    """Layers of the encoder alone; null = n_layers."""
    n_decoder_layers: PositiveInt | None = None
    """Layers of the decoder alone; null = n_layers."""
    d_ff: PositiveInt | None = None
    """Inner width of the feed-forward; null = 4 x d_model, or 8/3 x d_model for gated activations."""
    activation: Activation = "relu"
    """Feed-forward non-linearity; reglu, geglu and swiglu are gated (Shazeer, 2020)."""
    positions: Positions = "sinusoidal"
    """How positions enter: added to embeddings (sinusoidal, learned) or by rotating q and k (rotary)."""
    max_length: PositiveInt = 512
    """Position limit: the longest source or target sequence in tokens, end mark included."""
    norm: Norm = "layernorm"
    """Normalisation layer."""
    norm_position: NormPosition = "post"
    """post: norm(x + sublayer(x)), as in the paper; pre: x + sublayer(norm(x))."""
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    """Added to the variance inside the norm."""
    tie_weights: Tying = "all"
    """none; decoder: target embedding = output projection; all: source embedding too (needs a shared tokenizer)."""
    initialization: Initialization = "xavier_uniform"
    """How weights start; scaled_normal shrinks the residual projections with depth."""
    scale_embeddings: bool = True
    """Multiply embeddings by sqrt(d_model) (paper, section 3.4)."""
    bias: bool = True
    """Bias terms in linear layers and norms."""
    dropout: Fraction = 0.1
    """Dropout on embeddings and on each sublayer's output (paper, section 5.4)."""
    attention_dropout: Fraction = 0.0
    """Dropout on attention weights (not in the paper's text)."""
    attention: AttentionPath = "fast"
    """fast: torch's scaled_dot_product_attention; reference: the paper's equation, line by line."""

    @property
    def encoder_layers(self) -> int:
        """Number of encoder layers."""
        return self.n_encoder_layers or self.n_layers

    @property
    def decoder_layers(self) -> int:
        """Number of decoder layers."""
        return self.n_decoder_layers or self.n_layers

    @property
    def kv_heads(self) -> int:
        """Number of key/value heads."""
        return self.n_kv_heads or self.n_heads

    @property
    def feed_forward_width(self) -> int:
        """Inner width of the feed-forward; a multiple of 8 for gated activations."""
        if self.d_ff is not None:
            return self.d_ff
        if self.activation in ("reglu", "geglu", "swiglu"):
            return max(8, round(self.d_model * 8 / 3 / 8) * 8)
        return 4 * self.d_model

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> "ModelConfig":
        problems = []
        if self.d_model % self.n_heads:
            near = [n for n in range(1, self.d_model + 1) if self.d_model % n == 0]
            best = min(near, key=lambda n: abs(n - self.n_heads))
            problems.append(
                f"d_model {self.d_model} is not divisible by n_heads {self.n_heads}; n_heads {best} would do"
            )
        elif self.positions == "rotary" and (self.d_model // self.n_heads) % 2:
            problems.append(
                f"rotary positions need an even head width; d_model / n_heads is {self.d_model // self.n_heads}"
            )
        if self.n_heads % self.kv_heads:
            problems.append(f"n_heads {self.n_heads} is not divisible by n_kv_heads {self.n_kv_heads}")
        if self.positions == "sinusoidal" and self.d_model % 2:
            problems.append(f"sinusoidal positions need an even d_model; got {self.d_model}")
        fail("model", problems, info)
        return self


class DatesConfig(Section):
    """Dates written in many languages, to be turned into ISO dates."""

    languages: list[str] | None = None
    """CLDR locale names; null = the twenty built-in ones."""
    first_year: Annotated[int, Field(ge=1000, le=9999)] = 1950
    """First year, inclusive."""
    last_year: Annotated[int, Field(ge=1000, le=9999)] = 2049
    """Last year, inclusive."""

    @model_validator(mode="after")
    def _years_in_order(self, info: ValidationInfo) -> "DatesConfig":
        if self.first_year > self.last_year:
            fail("data.dates", [f"first_year {self.first_year} is after last_year {self.last_year}"], info)
        return self


class ToyConfig(Section):
    """Sequences of symbols for copy, reverse and sort; numbers for addition."""

    n_symbols: Annotated[int, Field(ge=2, le=26)] = 20
    """Different symbols (letters)."""
    min_length: PositiveInt = 4
    """Shortest sequence in symbols (digits of a number for addition)."""
    max_length: Annotated[int, Field(gt=0, le=1000)] = 12
    """Longest sequence in symbols (digits of a number for addition)."""

    @model_validator(mode="after")
    def _lengths_in_order(self, info: ValidationInfo) -> "ToyConfig":
        if self.min_length > self.max_length:
            fail("data.toy", [f"min_length {self.min_length} is above max_length {self.max_length}"], info)
        return self


class ParallelConfig(Section):
    """Two aligned text files per split, one sentence a line, plain or gzip."""

    train_source: str | None = None
    """Path of the training sentences in the source language."""
    train_target: str | None = None
    """Path of their translations."""
    valid_source: str | None = None
    """Path of the validation sentences in the source language."""
    valid_target: str | None = None
    """Path of their translations."""
    test_source: str | None = None
    """Path of the test sentences in the source language."""
    test_target: str | None = None
    """Path of their translations."""
    skip_long: bool = False
    """Leave out pairs longer than model.max_length in training instead of stopping with an error."""


class DataConfig(Section):
    """What the model learns from."""

    name: Literal["dates", "copy", "reverse", "sort", "addition", "parallel"] = "dates"
    """Which source of examples."""
    version: DataVersion | None = None
    """Which version it must be, a content hash or a number such as 1.0.2 (`stepwise data versions`); null = any."""
    seed: NonNegativeInt = 0
    """Seed of made data; independent of the training seed, so that runs share their data."""
    n_train: PositiveInt = 50_000
    """Training examples to make (made data only)."""
    n_valid: PositiveInt = 500
    """Validation examples to make."""
    n_test: PositiveInt = 2_000
    """Test examples to make."""
    dates: DatesConfig = DatesConfig()
    """Settings of `name: dates`."""
    toy: ToyConfig = ToyConfig()
    """Settings of the toy tasks copy, reverse, sort and addition."""
    parallel: ParallelConfig = ParallelConfig()
    """Settings of `name: parallel`."""

    @model_validator(mode="after")
    def _files_named(self, info: ValidationInfo) -> "DataConfig":
        if self.name == "parallel":
            fail(
                "data",
                [
                    f"parallel.{key} is needed by data.name parallel"
                    for key, path in self.parallel
                    if path is None
                ],
                info,
            )
        return self


class TokenizerConfig(Section):
    """How text becomes token ids."""

    type: Literal["character", "word", "bpe", "unigram"] = "character"
    """Unit of the vocabulary."""
    vocab_size: Annotated[int, Field(ge=8)] = 8_000
    """Upper limit of the vocabulary (word, bpe, unigram), special tokens included."""
    min_frequency: PositiveInt = 1
    """Tokens seen less often become <unk> (word) or are not merged (bpe)."""
    lowercase: bool = False
    """Fold upper case before tokenizing."""
    shared: bool = True
    """One vocabulary for source and target."""


class TrainingConfig(Section):
    """The optimisation: batches, schedule, regularisation, checkpoints."""

    batch_size: PositiveInt = 32
    """Size of a batch, in the unit of batch_by."""
    batch_by: Literal["examples", "tokens"] = "examples"
    """Count batches in examples, or in tokens of source + target with padding."""
    accumulation: PositiveInt = 1
    """Batches per optimiser step; the loss is the mean over all target tokens of the step."""
    epochs: PositiveInt = 10
    """Passes over the training data."""
    max_steps: PositiveInt | None = None
    """Optimiser steps after which to stop, whichever comes first; null = by epochs alone."""
    learning_rate: Annotated[float, Field(gt=0)] = 1.0
    """Peak learning rate; for schedule noam the factor before d_model^-0.5 (the paper's is 1)."""
    schedule: Schedule = "noam"
    """Shape of the learning rate over the steps."""
    warmup_steps: NonNegativeInt = 4_000
    """Steps of linear warm-up."""
    decay_fraction: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Part of the steps over which wsd decays at the end."""
    final_learning_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Where cosine, wsd and linear end, as a part of the peak."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.98)
    """AdamW's decay rates (paper, section 5.3)."""
    eps: Annotated[float, Field(gt=0)] = 1e-9
    """AdamW's epsilon."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay on matrices; biases, norms and embeddings are left alone."""
    label_smoothing: Fraction = 0.1
    """Part of the probability spread over the vocabulary (paper, section 5.4)."""
    gradient_clipping: Annotated[float, Field(gt=0)] | None = None
    """Largest global gradient norm; null = no clipping."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast of matrix products; weights stay in float32."""
    compile: bool = False
    """Run the model through torch.compile."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    """auto, cpu, mps, cuda or cuda:N; auto takes the first GPU, else the CPU."""
    threads: PositiveInt | None = None
    """CPU threads; null = one per physical core. Sums are added in another order with another number."""
    seed: NonNegativeInt = 0
    """Seed of initial weights, data order and dropout."""
    early_stopping: PositiveInt | None = None
    """Validations without a better loss after which to stop; null = never."""
    save_every: PositiveInt | None = None
    """Steps between checkpoints; null = at validations that improve, at the end and when interrupted."""
    keep_best: PositiveInt = 1
    """Best checkpoints (by validation loss) to keep."""
    keep_last: PositiveInt = 1
    """Newest checkpoints to keep."""
    average_checkpoints: NonNegativeInt = 0
    """Average the weights of this many kept checkpoints at the end (paper, section 6.1); 0 = off."""

    @model_validator(mode="after")
    def _warmup_and_average(self, info: ValidationInfo) -> "TrainingConfig":
        problems = []
        if self.schedule in ("noam", "inverse_sqrt") and self.warmup_steps == 0:
            problems.append(f"schedule {self.schedule} needs warmup_steps of at least 1")
        if self.average_checkpoints > self.keep_last + self.keep_best:
            kept = self.keep_last + self.keep_best
            problems.append(
                f"average_checkpoints {self.average_checkpoints} is above the {kept} checkpoints kept"
            )
        fail("training", problems, info)
        return self


class EvaluationConfig(Section):
    """Decoding and scores."""

    batch_size: PositiveInt = 128
    """Sentences decoded together."""
    beam_size: PositiveInt = 1
    """Hypotheses kept per sentence; 1 = greedy."""
    length_penalty: Annotated[float, Field(ge=0)] = 0.6
    """Alpha of Wu et al. (2016), equation 14; 0 = none. The paper uses 0.6 (section 6.1)."""
    max_length: PositiveInt | None = None
    """Longest output in tokens; null = source length + 50 (paper, section 6.1), at most model.max_length."""
    n_samples: NonNegativeInt = 8
    """Validation sentences translated and kept in samples/ at each validation; 0 = none."""


class LoggingConfig(Section):
    """What is recorded, and how often."""

    project_name: str = "stepwise-transformers"
    """Project of the run."""
    experiment_name: str | None = None
    """Name of the run; null = {model_type}_{dataset}_{timestamp}."""
    tags: list[str] = Field(default=[])
    """Labels to find the run by."""
    notes: str = ""
    """Goal and hypothesis, in words."""
    entity: str | None = None
    """Team or account, for trackers that know one."""
    backends: list[str] | None = None
    """Trackers to send the run to: clearml, wandb, mlflow, tensorboard; null = ClearML if a server is there."""
    log_model: bool = True
    """Register checkpoints with the run."""
    log_code: bool = True
    """Record git commit and uncommitted changes."""
    log_artifacts: bool = True
    """Record pictures, samples and evaluation files."""
    log_training_every: PositiveInt = 10
    """Steps between training points."""
    log_validation_every: PositiveInt = 200
    """Steps between validations."""
    log_gradient_norms: bool = True
    """Record gradient norms per block."""
    log_learning_rate: bool = True
    """Record the learning rate."""
    log_memory_usage: bool = True
    """Record process and GPU memory."""
    log_compute_time: bool = True
    """Record step time and tokens per second."""
    log_histograms_every: PositiveInt | None = None
    """Steps between histograms of weights and gradients; null = none."""


class Config(Section):
    """All settings of a run."""

    preset: Literal["paper", "modern"] = "paper"
    """Starting values: `paper` is faithful to 2017, `modern` is what is usual today."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    logging: LoggingConfig = LoggingConfig()

    @model_validator(mode="after")
    def _sections_fit(self, info: ValidationInfo) -> "Config":
        problems = []
        if self.model.tie_weights == "all" and not self.tokenizer.shared:
            problems.append(
                "model.tie_weights all needs tokenizer.shared true (one vocabulary for both sides)"
            )
        if self.evaluation.max_length is not None and self.evaluation.max_length > self.model.max_length:
            problems.append(
                f"evaluation.max_length {self.evaluation.max_length} is above model.max_length {self.model.max_length}"
            )
        fail("", problems, info)
        return self
