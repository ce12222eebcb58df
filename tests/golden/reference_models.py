#!/usr/bin/env python3
"""Golden logits of small models, in NumPy and fp64; shares nothing with the C++ executor but the weights' formula.

Run by hand from the repository's root (it needs python3 and NumPy): python3 tests/golden/reference_models.py
It writes tests/golden/logits/{llama,mixtral,deepseek,gpt,mamba}.csv: the logits of every position of two sequences of seven tokens.
tests/golden/logits_test.cpp states the same models and compares.
"""
import csv
import os

import numpy as np

MASK = (1 << 64) - 1
SEQUENCES, TOKENS, EPSILON = 2, 7, 1e-5


def unit(name, count, first=0):
    """u(name, i) in [-1, 1) for i = first .. first + count - 1: see kernels/weights/weights.hpp."""
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


def layer_norm(x, name):
    y = x - x.mean(-1, keepdims=True)
    n = x.shape[-1]
    return y / np.sqrt((y**2).mean(-1, keepdims=True) + EPSILON) * gain(name, n) + bias(name, n)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gpt():
    """Layer norms, positions, biases everywhere, normed and partly rotated heads, sinks; a sandwich and a parallel layer."""
    hidden, vocab, heads, d, inner = 24, 30, 3, 8, 32

    def linear(name, x, n):
        return x @ matrix(name, n, x.shape[-1]).T + bias(name, n)

    def attend(p, x):
        q, k, v = (split(t, heads) for t in np.split(linear(p + "attn.qkv", x, 3 * heads * d), 3, -1))
        gains = gain(p + "attn.qk_norm", 2 * d)
        q, k = (np.concatenate([rotate(t[..., :2]), t[..., 2:]], -1) for t in (rms(q, gains[:d]), rms(k, gains[d:])))
        scores = np.einsum("shid,shjd->shij", q, k) / np.sqrt(d)
        scores = np.where(np.tril(np.ones((TOKENS, TOKENS))) > 0, scores, -np.inf)
        sinks = np.broadcast_to(unit(p + "attn.core.sinks", heads)[None, :, None, None], (SEQUENCES, heads, TOKENS, 1))
        weights = softmax(np.concatenate([scores, sinks], -1))[..., :TOKENS]
        return linear(p + "attn.out", join(np.einsum("shij,shjd->shid", weights, v)), hidden)

    def feed(p, x):
        return linear(p + "mlp.down", gelu(linear(p + "mlp.up", x, inner)), hidden)

    x = unit("embed.table", vocab * hidden).reshape(vocab, hidden)[tokens(vocab)]
    x = x + unit("embed.positions", 16 * hidden).reshape(16, hidden)[:TOKENS]
    p = "layers.0."
    x = x + layer_norm(attend(p, layer_norm(x, p + "attn.norm")), p + "attn.post_norm")
    x = x + layer_norm(feed(p, layer_norm(x, p + "mlp.norm")), p + "mlp.post_norm")
    h = layer_norm(x, "layers.1.attn.norm")
    x = x + attend("layers.1.", h) + feed("layers.1.", h)
    return linear("lm_head", layer_norm(x, "norm"), vocab)


def mamba():
    """The state-space layer in its quadratic form: every output a weighted sum over all inputs before it."""
    hidden, vocab, heads, d, state, groups, kernel = 20, 30, 4, 6, 5, 2, 3
    inner, channels = heads * d, heads * d + 2 * groups * state

    def mix(p, x):
        y = x @ matrix(p + "mamba.in", inner + channels + heads, hidden).T
        z, wide, dt = np.split(y, [inner, inner + channels], -1)
        taps = matrix(p + "mamba.conv", channels, kernel)
        padded = np.pad(wide, ((0, 0), (kernel - 1, 0), (0, 0)))
        wide = silu(sum(padded[:, j : j + TOKENS] * taps[:, j] for j in range(kernel)) + bias(p + "mamba.conv", channels))
        v, b, c = np.split(wide, [inner, inner + groups * state], -1)
        b, c = (np.repeat(t.reshape(SEQUENCES, TOKENS, groups, state), heads // groups, 2) for t in (b, c))
        v = v.reshape(SEQUENCES, TOKENS, heads, d)
        a, skip, shift = unit(p + "mamba.scan.a_d_dt", 3 * heads).reshape(3, heads)
        dt = np.log1p(np.exp(dt + shift))
        decay = np.cumsum(-dt * np.exp(a), 1)
        reach = np.exp(decay[:, :, None] - decay[:, None]) * np.tril(np.ones((TOKENS, TOKENS)))[None, :, :, None]
        out = np.einsum("sthn,suhn,stuh,suh,suhd->sthd", c, b, reach, dt, v) + skip[:, None] * v
        gated = (out.reshape(SEQUENCES, TOKENS, inner) * silu(z)).reshape(SEQUENCES, TOKENS, groups, -1)
        normed = rms(gated, gain(p + "mamba.gated_norm", inner).reshape(groups, -1)).reshape(SEQUENCES, TOKENS, inner)
        return normed @ matrix(p + "mamba.out", hidden, inner).T

    x = unit("embed.table", vocab * hidden).reshape(vocab, hidden)[tokens(vocab)]
    for i in range(2):
        x = x + mix(f"layers.{i}.", rms(x, gain(f"layers.{i}.mamba.norm", hidden)))
    return rms(x, gain("norm", hidden)) @ matrix("lm_head", vocab, hidden).T


if __name__ == "__main__":
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "logits")
    os.makedirs(folder, exist_ok=True)
    for model in (llama, mixtral, deepseek, gpt, mamba):
        with open(os.path.join(folder, model.__name__ + ".csv"), "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([f"{v:.17g}" for v in row] for s in model() for row in s)
