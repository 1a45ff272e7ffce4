// All circuits of a class, however they were found, the flagged ones with their flag.
//
// Parameters:
//   class: string; name of the class
// Columns:
//   id: of the circuit
//   dataset: name of the data set
//   model: name of the model
//   condition: what was done to the images
//   word: what the attack wrote on them, if anything
//   target: class that the metric or the attack aims at, if any
//   against: classes that the corrupted images come from, if any
//   form: form of the graph
//   method: discovery method
//   metric: what the scores raise
//   corruption: what the clean run is contrasted with
//   extraction: how it was taken from the scores
//   flag: why it says little, or nothing
//   n_edges: its edges
//   share: of the edges of the whole graph of its form
//   n_nodes: its nodes
//   faithfulness: of its metric, on report images
//   retention: of its accuracy, on report images

MATCH (c:Circuit)
WHERE c.class = $class AND c.id IN $circuits
RETURN c.id AS id, c.dataset AS dataset, c.model AS model, c.model_id AS model_id, c.condition AS condition,
  c.word AS word, c.target AS target, c.against AS against, c.form AS form, c.method AS method, c.metric AS metric,
  c.corruption AS corruption, c.extraction AS extraction, c.flag AS flag,
  c.n_edges AS n_edges, 1.0 * c.n_edges / c.n_graph_edges AS share, c.n_nodes AS n_nodes,
  c.faithfulness AS faithfulness, c.retention AS retention
ORDER BY dataset, model, model_id, metric, condition, extraction, id
