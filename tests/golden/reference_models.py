#!/usr/bin/env python3
"""Golden logits of three small models, in NumPy and fp64; shares nothing with the C++ executor but the weights' formula.

Run by hand from the repository's root (it needs python3 and NumPy): python3 tests/golden/reference_models.py
It writes tests/golden/logits/{llama,mixtral,deepseek}.csv: the logits of every position of two sequences of seven tokens.
tests/golden/logits_test.cpp states the same three models and compares.
"""
import csv
import os

import numpy as np

MASK = (1 << 64) - 1
SEQUENCES, TOKENS, EPSILON = 2, 7, 1e-5


def unit(name, count, first=0):
    """u(name, i) in [-1, 1) for i = first .. first + count - 1: see kernels/weights.hpp."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = ((start ^ byte) * 0x100000001B3) & MASK
    with np.errstate(over="ignore"):
        index = np.arange(first + 1, first + count + 1, dtype=np.uint64)
        x = np.uint64(start) + index * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return 2 * ((x >> np.uint64(11)).astype(np.float64) * 2.0**-53) - 1


def matrix(name, *shape):
    return unit(name + ".weight", int(np.prod(shape))).reshape(shape) * np.sqrt(3 / shape[-1])


def gain(name, n):
    return 1 + unit(name + ".gain", n) / 10


def bias(name, n):
    return unit(name + ".bias", n) / 10


def tokens(vocab):
    ids = [[(unit("tokens", 1, (s << 32) + p)[0] + 1) / 2 * vocab for p in range(TOKENS)] for s in range(SEQUENCES)]
    return np.floor(np.array(ids)).astype(int)


def rms(x, g):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) * g


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotate(x):
    """x: [..., position, width]; complex numbers of the two halves, turned."""
    half = x.shape[-1] // 2
    angle = np.outer(np.arange(x.shape[-2]), 10000.0 ** (-np.arange(half) / half))
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
    return np.concatenate([z.real, z.imag], -1)


def masked_attention(q, k, v, window=None):
    """[sequence, head, position, width] each."""
    scores = np.einsum("shid,shjd->shij", q, k) / np.sqrt(q.shape[-1])
    i, j = np.indices(scores.shape[-2:])
    hidden = (j > i) | (False if window is None else j <= i - window)
    return np.einsum("shij,shjd->shid", softmax(np.where(hidden, -np.inf, scores)), v)


def split(x, heads):
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def join(x):
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def grouped_attention(p, x, heads, kv_heads, d, window=None, qkv_bias=False):
    rows = (heads + 2 * kv_heads) * d
    y = x @ matrix(p + "attn.qkv", rows, x.shape[-1]).T
    if qkv_bias:
        y = y + bias(p + "attn.qkv", rows)
    q, k, v = np.split(y, [heads * d, (heads + kv_heads) * d], -1)
    q, k, v = rotate(split(q, heads)), rotate(split(k, kv_heads)), split(v, kv_heads)
    k, v = (np.repeat(t, heads // kv_heads, 1) for t in (k, v))
    return join(masked_attention(q, k, v, window)) @ matrix(p + "attn.out", x.shape[-1], heads * d).T


def latent_attention(p, x, heads, q_lora, lora, rope, nope, v_dim):
    hidden = x.shape[-1]
    low = rms(x @ matrix(p + "attn.q_a", q_lora, hidden).T, gain(p + "attn.q_norm", q_lora))
    q = split(low @ matrix(p + "attn.q_b", heads * (nope + rope), q_lora).T, heads)
    q = np.concatenate([q[..., :nope], rotate(q[..., nope:])], -1)
    latent = x @ matrix(p + "attn.kv_a", lora + rope, hidden).T
    shared = rotate(latent[:, None, :, lora:])
    kv = rms(latent[..., :lora], gain(p + "attn.kv_norm", lora)) @ matrix(p + "attn.kv_b", heads * (nope + v_dim), lora).T
    kv = split(kv, heads)
    k = np.concatenate([kv[..., :nope], np.broadcast_to(shared, (*kv.shape[:3], rope))], -1)
    return join(masked_attention(q, k, kv[..., nope:])) @ matrix(p + "attn.out", hidden, heads * v_dim).T


def gated_ffn(p, x, inner):
    gate, up = np.split(x @ matrix(p + "gate_up", 2 * inner, x.shape[-1]).T, 2, -1)
    return (silu(gate) * up) @ matrix(p + "down", x.shape[-1], inner).T


def experts(p, x, count, top_k, inner, shared=0):
    hidden = x.shape[-1]
    probability = softmax(x @ matrix(p + "moe.router", count, hidden).T)
    kept = np.where(probability >= np.sort(probability, -1)[..., [-top_k]], probability, 0)
    kept /= kept.sum(-1, keepdims=True)
    up, down = matrix(p + "moe.experts.up", count, 2 * inner, hidden), matrix(p + "moe.experts.down", count, hidden, inner)
    y = np.zeros_like(x)
    for e in range(count):  # every expert on every token, most of them times 0
        gate, wide = np.split(x @ up[e].T, 2, -1)
        y += kept[..., [e]] * ((silu(gate) * wide) @ down[e].T)
    return y + gated_ffn(p + "moe.shared.", x, shared) if shared else y


def run(hidden, vocab, layers, tied=False):
    """`layers`: (attention, ffn) of each, functions of (prefix, x)."""
    table = unit("embed.table", vocab * hidden).reshape(vocab, hidden)
    x = table[tokens(vocab)]
    for i, (attend, feed) in enumerate(layers):
        p = f"layers.{i}."
        x = x + attend(p, rms(x, gain(p + "attn.norm", hidden)))
        part = "moe" if feed.__name__ == "moe" else "mlp"
        x = x + feed(p, rms(x, gain(f"{p}{part}.norm", hidden)))
    x = rms(x, gain("norm", hidden))
    return x @ (table if tied else matrix("lm_head", vocab, hidden)).T


def llama():
    def attend(p, x): return grouped_attention(p, x, 4, 2, 8, qkv_bias=True)
    def feed(p, x): return gated_ffn(p + "mlp.", x, 40)
    return run(32, 50, [(attend, feed)] * 3, tied=True)


def mixtral():
    def attend(p, x): return grouped_attention(p, x, 6, 2, 4, window=4)
    def moe(p, x): return experts(p, x, 8, 2, 20)
    return run(24, 40, [(attend, moe)] * 2)


def deepseek():
    def attend(p, x): return latent_attention(p, x, 4, 12, 16, 4, 8, 6)
    def feed(p, x): return gated_ffn(p + "mlp.", x, 36)
    def moe(p, x): return experts(p, x, 8, 3, 10, shared=14)
    return run(32, 60, [(attend, feed), (attend, moe), (attend, moe)])


if __name__ == "__main__":
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "logits")
    os.makedirs(folder, exist_ok=True)
    for model in (llama, mixtral, deepseek):
        with open(os.path.join(folder, model.__name__ + ".csv"), "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([f"{v:.17g}" for v in row] for s in model() for row in s)
