"""A literal NeuronPath in plain torch, for one image at the class token; shares no code with the package."""

import torch


def run(module, stream, changes):
    """Return the logits and, per layer, the class token's neurons, which `changes[layer]` may replace."""
    neurons = []
    for layer, block in enumerate(module.blocks):
        stream = stream + block.ls1(block.attn(block.norm1(stream)))
        read = block.norm2(stream)

        def hook(_, args, layer=layer):
            values = args[0].clone()
            neurons.append(changes[layer](values[:, 0]) if layer in changes else values[:, 0])
            values[:, 0] = neurons[-1]
            return (values,)

        handle = block.mlp.fc2.register_forward_pre_hook(hook)
        stream = stream + block.ls2(block.mlp(read))
        handle.remove()
    return module.forward_head(module.norm(stream)), neurons


def gradients(module, stream, label, clean, masks, points, weights, others):
    """Return the weighted sum of ∂p/∂w per layer in `masks`, whose neurons are scaled."""
    total = [torch.zeros_like(clean[layer]) for layer in masks]
    for a, weight in zip(points, weights, strict=True):
        leaves = [a * clean[layer] for layer in masks]
        for leaf in leaves:
            leaf.requires_grad_()

        def change(layer, leaf):
            rest = lambda values: clean[layer] if others == "frozen" else values  # noqa: E731
            return lambda values: torch.where(masks[layer], leaf, rest(values))

        with torch.enable_grad():
            changes = {layer: change(layer, leaf) for layer, leaf in zip(masks, leaves, strict=True)}
            logits, _ = run(module, stream, changes)
            found = torch.autograd.grad(logits.softmax(dim=1)[0, label], leaves)
        total = [t + weight * g for t, g in zip(total, found, strict=True)]
    return total


def search(module, stream, label, points, weights, others, score="jas"):
    """Return the greedy path and the scores of all candidates of each layer, the layer scaled as a whole."""
    clean = run(module, stream, {})[1]
    path, scores = [], []
    for layer in range(len(clean)):
        none = torch.zeros_like(clean[0], dtype=torch.bool)
        masks = {i: none.index_fill(1, torch.tensor([b]), True) for i, b in enumerate(path)} | {layer: ~none}
        *before, last = gradients(module, stream, label, clean, masks, points, weights, others)
        slope = sum(g[0, b] for g, b in zip(before, path, strict=True))
        value = sum(clean[i][0, b] for i, b in enumerate(path))
        if score == "jas":
            scores.append((last[0] + slope) * (clean[layer][0] + value))
        else:
            held = sum(clean[i][0, b] * g[0, b] for i, (g, b) in enumerate(zip(before, path, strict=True)))
            scores.append(last[0] * clean[layer][0] + held)
        path.append(int(scores[-1].argmax()))
    return path, scores


def path_scores(module, stream, label, path, points, weights, others):
    """Return JAS and parts of a path."""
    clean = run(module, stream, {})[1]
    none = torch.zeros_like(clean[0], dtype=torch.bool)
    masks = {i: none.index_fill(1, torch.tensor([b]), True) for i, b in enumerate(path)}
    found = gradients(module, stream, label, clean, masks, points, weights, others)
    values = torch.stack([clean[i][0, b] for i, b in enumerate(path)])
    slopes = torch.stack([g[0, b] for g, b in zip(found, path, strict=True)])
    return float(values.sum() * slopes.sum()), values * slopes
