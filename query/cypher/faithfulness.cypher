// How much of the model's behaviour each circuit of a study keeps, compared with random connected circuits of its size.
// Faithfulness is the share of the metric, retention the share of the accuracy, both on report images.
//
// Parameters:
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
// Columns:
//   class: name of the class
//   condition: what was done to the images
//   word: word that the attack wrote on them, if any
//   target: target class of the metric or the attack, if any
//   against: classes of the corrupted images, if any
//   n_edges: number of edges
//   share: share of the edges of the whole graph
//   faithfulness: (metric_circuit − metric_empty) / (metric_full − metric_empty); null where the gap is too small
//   faithfulness_random: mean faithfulness of the random circuits
//   retention: the same ratio of accuracies
//   accuracy_full: accuracy of the model
//   accuracy_circuit: accuracy of the circuit
//   metric_full: metric of the model
//   metric_empty: metric with every edge corrupted
//   metric_circuit: metric of the circuit
//   id: id of the circuit

MATCH (c:Circuit)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction AND c.id IN $circuits
RETURN c.class AS class, c.condition AS condition, c.word AS word, c.target AS target, c.against AS against,
  c.n_edges AS n_edges, 1.0 * c.n_edges / c.n_graph_edges AS share,
  c.faithfulness AS faithfulness, c.faithfulness_random AS faithfulness_random, c.retention AS retention,
  c.accuracy_full AS accuracy_full, c.accuracy_circuit AS accuracy_circuit, c.metric_full AS metric_full,
  c.metric_empty AS metric_empty, c.metric_circuit AS metric_circuit, c.id AS id
ORDER BY class, condition, id
