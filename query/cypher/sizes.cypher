// Size and faithfulness of the circuits of a study by condition.
//
// Parameters:
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
// Columns:
//   condition: what was done to the images
//   circuits: number of circuits
//   edges: mean number of edges
//   share: mean share of the edges of the whole graph
//   smallest: smallest number of edges
//   largest: largest number of edges
//   nodes: mean number of nodes
//   faithfulness: mean faithfulness
//   faithfulness_random: mean faithfulness of the random circuits
//   retention: mean retention

MATCH (c:Circuit)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction AND c.id IN $circuits
RETURN c.condition AS condition, count(*) AS circuits, avg(c.n_edges) AS edges,
  avg(1.0 * c.n_edges / c.n_graph_edges) AS share, min(c.n_edges) AS smallest, max(c.n_edges) AS largest,
  avg(c.n_nodes) AS nodes, avg(c.faithfulness) AS faithfulness, avg(c.faithfulness_random) AS faithfulness_random,
  avg(c.retention) AS retention
ORDER BY condition
