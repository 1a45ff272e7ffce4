"""RelP's and GIM's rules by detaching, in plain torch; the product replaces backward steps instead."""

import copy

from torch import nn

TEMPERATURE = 2.0


class DetachedNorm(nn.Module):
    """LayerNorm or RMSNorm whose scale is detached."""

    def __init__(self, norm):
        super().__init__()
        self.norm, self.centred = norm, isinstance(norm, nn.LayerNorm)

    def forward(self, x):
        x = x - x.mean(-1, keepdim=True) if self.centred else x
        x = x / (x.pow(2).mean(-1, keepdim=True) + self.norm.eps).sqrt().detach() * self.norm.weight
        return x + self.norm.bias if self.centred else x


class DetachedQuotient(nn.Module):
    """An activation as its input times a detached quotient."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def forward(self, z):
        return z * (self.act(z) / z).detach()


def scaled(x, factor):
    """x, whose gradient is multiplied by `factor`."""
    return factor * x + (1 - factor) * x.detach()


class Halved(nn.Module):
    """A gated MLP whose two factors get half of the gradient each."""

    def __init__(self, mlp):
        super().__init__()
        self.mlp = mlp

    def forward(self, x):
        gate, value = self.mlp.fc1_g(x), self.mlp.fc1_x(x)
        return self.mlp.fc2(self.mlp.norm(scaled(self.mlp.act(gate) * value, 0.5)))


def attend(mode, q, k, v):
    """One attention by the rules of `mode`."""
    if mode == "relp-ah":
        return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1).detach() @ v
    if mode == "gim":
        scores = scaled(q, 0.25) @ scaled(k, 0.25).transpose(-1, -2) / q.shape[-1] ** 0.5
        cool = TEMPERATURE * (scores / TEMPERATURE).softmax(-1)  # whose gradient is that at scores / T, no 1/T
        return (scores.softmax(-1).detach() + cool - cool.detach()) @ scaled(v, 0.5)
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v


class DetachedAttention:
    """Over `BruteForce`: attention by the rules of `mode`."""

    mode: str

    def attend(self, q, k, v):
        return attend(self.mode, q, k, v)


class DetachedPool(nn.Module):
    """Map pooling: a learnt query attends to all tokens, and an MLP follows."""

    def __init__(self, pool, mode):
        super().__init__()
        self.pool, self.mode = pool, mode

    def forward(self, x):
        pool = self.pool
        shape = (pool.num_heads, pool.head_dim)
        q = pool.q(pool.latent.expand(len(x), -1, -1)).unflatten(-1, shape).transpose(1, 2)
        k, v = pool.kv(x).unflatten(-1, (2, *shape)).permute(2, 0, 3, 1, 4)
        read = attend(self.mode, pool.q_norm(q), pool.k_norm(k), v).transpose(1, 2).flatten(2)
        pooled = pool.proj(read)
        return (pooled + pool.mlp(pool.norm(pooled)))[:, 0]


def detached(brute_force, module, graph, mode):
    """A brute-force forward of a copy of the module whose parts follow a gradient mode."""
    made = type("Detached", (DetachedAttention, brute_force), {"mode": mode})
    return made(module if mode == "plain" else follow(copy.deepcopy(module), mode), graph)


def follow(module, mode):
    """Put the detached parts in the place of norms, activations and gated MLPs."""
    for part in list(module.modules()):
        for key, child in list(part.named_children()):
            if isinstance(child, nn.LayerNorm) or hasattr(child, "eps"):
                setattr(part, key, DetachedNorm(child))
            elif key == "act" and mode != "gim":
                part.act = DetachedQuotient(child)
        if hasattr(part, "mlp") and hasattr(part.mlp, "fc1_g"):
            part.mlp = Halved(part.mlp)
    if getattr(module, "attn_pool", None) is not None:
        module.attn_pool = DetachedPool(module.attn_pool, mode)
    return module
