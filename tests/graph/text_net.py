"""A text classifier with the attention that transformers of 2019 export, which onnxruntime's optimiser knows."""

from __future__ import annotations

import io
import logging
import math
import warnings

import onnx
import torch
from torch import nn

WORDS, LENGTH, WIDTH, HEADS, LAYERS, CLASSES = 50, 9, 32, 4, 2, 3


class _Layer(nn.Module):
    """Attention and a feed-forward part, a norm behind each."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.one, self.two = nn.LayerNorm(WIDTH, eps=1e-12), nn.LayerNorm(WIDTH, eps=1e-12)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.size(0), x.size(1), HEADS, WIDTH // HEADS).permute(0, 2, 1, 3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = (self._heads(part(x)) for part in (self.query, self.key, self.value))
        odds = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(WIDTH // HEADS) + mask, dim=-1)
        mixed = (odds @ v).permute(0, 2, 1, 3).contiguous()
        x = self.one(self.out(mixed.view(mixed.size(0), mixed.size(1), WIDTH)) + x)
        return self.two(self.down(nn.functional.gelu(self.up(x))) + x)


class TextNet(nn.Module):
    """Embeddings, two layers, the first token, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.kinds = (
            nn.Embedding(WORDS, WIDTH),
            nn.Embedding(16, WIDTH),
            nn.Embedding(2, WIDTH),
        )
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(_Layer() for _ in range(LAYERS))
        self.pool, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.register_buffer("order", torch.arange(16)[None])

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        places = self.places(self.order[:, : ids.size(1)])
        x = self.norm(self.words(ids) + self.kinds(kinds) + places)
        low = (1.0 - mask[:, None, None, :].to(x.dtype)) * -10000.0
        for layer in self.layers:
            x = layer(x, low)
        return self.head(torch.tanh(self.pool(x[:, 0])))


def text_file() -> onnx.ModelProto:
    """The net in ONNX: input_ids, attention_mask, token_type_ids ``[N, T]``; logits ``[N, 3]``."""
    torch.manual_seed(4)
    net = TextNet().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn_like(p) * 0.2 if p.ndim > 1 else p + 0.1 * torch.randn_like(p))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    given = tuple(torch.ones(2, LENGTH, dtype=torch.int64) for _ in names)
    file = io.BytesIO()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net, given, file, dynamo=False, input_names=names, output_names=["logits"], opset_version=17,
                dynamic_axes={name: {0: "N", 1: "T"} for name in names},
            )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load_from_string(file.getvalue())
