// All circuits of a class over all studies, including flagged ones.
//
// Parameters:
//   class: string; name of the class
// Columns:
//   id: id of the circuit
//   dataset: name of the data set
//   model: name of the model
//   image_group: group of the images; empty for images that are not divided into groups
//   condition: what was done to the images
//   word: word that the attack wrote on them, if any
//   target: target class of the metric or the attack, if any
//   against: classes of the corrupted images, if any
//   form: form of the graph
//   method: discovery method
//   metric: metric of the scores
//   corruption: what the clean run is contrasted with
//   extraction: how it was extracted from the scores
//   flag: why it says little about its class; empty if it has no flag
//   n_edges: number of edges
//   share: share of the edges of the whole graph
//   n_nodes: number of nodes
//   faithfulness: share of the metric that it keeps, on report images
//   retention: share of the accuracy that it keeps, on report images

MATCH (c:Circuit)
WHERE c.class = $class AND c.id IN $circuits
RETURN c.id AS id, c.dataset AS dataset, c.model AS model, c.model_id AS model_id, c.image_group AS image_group,
  c.condition AS condition,
  c.word AS word, c.target AS target, c.against AS against, c.form AS form, c.method AS method, c.metric AS metric,
  c.corruption AS corruption, c.extraction AS extraction, c.flag AS flag,
  c.n_edges AS n_edges, 1.0 * c.n_edges / c.n_graph_edges AS share, c.n_nodes AS n_nodes,
  c.faithfulness AS faithfulness, c.retention AS retention
ORDER BY dataset, model, model_id, image_group, metric, condition, extraction, id
