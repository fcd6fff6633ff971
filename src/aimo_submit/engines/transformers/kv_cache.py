"""The keys and values of the rows of a batch, each in its slot, and attention over them.

Slots 0 to n-1 hold the n running rows; those behind keep what they last held, so that a prompt
which begins as an earlier one did (a sample's next round, or the next sample of a problem) is
not computed again. A row starts at position 0 of its slot and needs no padding: rows of any
length run together, each masked to its own length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin

ATTENTION = "aimo_slots"
_GRAIN = 64  # a multiple keeps kernels for GPUs aligned


class Slots(Cache):
    """The cache that a transformers model writes to and reads from."""

    def __init__(self, layers: int, rows: int, context: int) -> None:
        self._layers = [_Layer(self) for _ in range(layers)]
        super().__init__(layers=[*self._layers])
        self.tokens: NDArray[np.int64] = np.zeros((rows, context), np.int64)
        self.length = np.zeros(rows, np.int64)  # of these tokens, those that are computed
        self.capacity = 0
        self._used = np.zeros(rows, np.int64)
        self._clock = 0

    def view(
        self, rows: slice | torch.Tensor, at: NDArray[np.int64], device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sets what the model reads and writes next: these rows, at these positions in them.

        Returns the positions (rows x steps) and the mask (rows x 1 x steps x span).
        """
        span = int(at.max()) + 1
        span += -span % _GRAIN
        if span > self.capacity:
            self.capacity = 2 * span  # grows seldom
        self.rows, self.span = rows, span
        positions = torch.from_numpy(at).to(device)
        index = torch.arange(len(self.length), device=device)[rows]
        self.target = (index[:, None], slice(None), positions)
        return positions, torch.arange(span, device=device) <= positions[:, None, :, None]

    def place(self, prompt: NDArray[np.int64], row: int) -> None:
        """Gives the first free slot, `row`, the prompt and what is computed of it anywhere.

        The last token is left to compute: its logits are wanted.
        """
        shared = self._shared(prompt[:-1])
        source = int(shared.argmax())
        known = int(shared[source])
        target = row + int(self._used[row:].argmin())
        if source >= row and known == self.length[source]:
            target = source  # all it holds is of use: take it over
        elif source != target:
            self._copy(source, target, known)
        self._swap(target, row)
        self.length[row] = known
        self.tokens[row, : len(prompt)] = prompt

    def release(self, row: int, rows: int) -> None:
        """Frees a slot of the `rows` running: the last of them moves to its place."""
        self._swap(row, rows - 1)
        self._clock += 1
        self._used[rows - 1] = self._clock

    def _shared(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts for each slot the tokens, from the first on, that it has computed already."""
        if not len(tokens):
            return np.zeros_like(self.length)
        equal = self.tokens[:, : len(tokens)] == tokens
        begin = np.where(equal.all(1), len(tokens), equal.argmin(1))
        shared: NDArray[np.int64] = np.minimum(begin, self.length)
        return shared

    def _copy(self, source: int, target: int, length: int) -> None:
        self.tokens[target, :length] = self.tokens[source, :length]
        self.length[target] = length
        for part in self._parts():
            part[target, :, :length] = part[source, :, :length]

    def _swap(self, a: int, b: int) -> None:
        if a == b:
            return
        both, turned = [a, b], [b, a]
        for facts in (self.tokens, self.length, self._used):
            facts[both] = facts[turned]
        span = int(self.length[both].max())
        for part in self._parts():
            part[both, :, :span] = part[turned, :, :span]

    def _parts(self) -> list[torch.Tensor]:
        return [part for layer in self._layers for part in layer.parts]


class _Layer(CacheLayerMixin):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """Keys and values of one layer: slots x heads x capacity x size."""

    def __init__(self, slots: Slots) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self._slots = slots
        self.parts: list[torch.Tensor] = []  # keys and values, once the first are seen

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores what the model computed; returns all that the viewed rows hold."""
        slots = self._slots
        if not self.parts or self.parts[0].shape[2] < slots.capacity:
            self.lazy_initialization(key_states, value_states)
        for part, states in zip(self.parts, (key_states, value_states), strict=True):
            part[slots.target] = states.transpose(1, 2)
        keys, values = (part[slots.rows, :, : slots.span] for part in self.parts)
        return keys, values

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Makes room for the slots' capacity, keeping what is stored."""
        old, self.parts = self.parts, []
        for states in (key_states, value_states):
            _, heads, _, size = states.shape
            # Zeros, since what is masked is still multiplied: by 0, which does not mend a NaN.
            shape = (len(self._slots.length), heads, self._slots.capacity, size)
            self.parts.append(states.new_zeros(shape))
        for new, stored in zip(self.parts, old, strict=False):
            new[:, :, : stored.shape[2]] = stored
        self.is_initialized = True

    def get_seq_length(self) -> int:
        return 0  # rows differ; their positions are always given

    def get_max_length(self) -> int:
        return self._slots.capacity

    def get_max_cache_shape(self) -> int:
        return self._slots.capacity

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._slots.span, 0


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention that reads keys and values where they lie.

    transformers repeats them for grouped queries, a copy of the whole cache at every step. Here
    the queries of a group are laid along the sequence instead: it is the same product.
    """
    if options.get("softcap") is not None or options.get("s_aux") is not None:
        raise NotImplementedError("attention with a soft cap or sinks is not supported")
    rows, heads, steps, size = query.shape
    groups = heads // key.shape[1]
    if attention_mask is not None and steps > 1:
        attention_mask = attention_mask.repeat(1, 1, groups, 1)
    query = query.reshape(rows, key.shape[1], groups * steps, size)
    out = scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scaling)
    return out.reshape(rows, heads, steps, value.shape[-1]).transpose(1, 2), None


AttentionInterface.register(ATTENTION, _attention)
