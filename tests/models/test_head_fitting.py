"""A fitted head computes what scikit-learn's classifier of standardised features computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from circuitstore.models import fit_head
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logits_are_those_of_the_classifier(n_classes: int) -> None:
    """Also for a feature that does not vary, and for two classes, whose difference of logits is one row."""
    rng = np.random.default_rng(0)
    classes = np.arange(30) % n_classes
    features = rng.normal(3, 2, (30, 4)) + classes[:, None]
    features[:, 3] = 7.0
    head = fit_head(features, classes, [str(k) for k in range(n_classes)], penalty=0.3)
    logits = (torch.from_numpy(features).float() @ head.weight.T + head.bias).numpy()
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=0.3)).fit(features, classes)
    decision = logits[:, 1] - logits[:, 0] if n_classes == 2 else logits
    assert np.allclose(decision, expected.decision_function(features), atol=1e-4)
    assert head.labels == tuple(str(k) for k in range(n_classes))
