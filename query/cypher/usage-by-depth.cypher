// Where in the model the circuits of a study lie: the ends of their edges by kind and depth of the component. Depths are
// comparable between models with different numbers of layers.
//
// Parameters:
//   condition: string = "natural"; what was done to the images
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
// Columns:
//   kind: kind of the component
//   layer: its layer, counted from 0; null for input and logits
//   depth: middle of the layer as a share of the layers, from 0 to 1; null for input and logits
//   edge_ends: number of edges into or out of such components, over all circuits
//   share: share of the ends of all edges

MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH 2.0 * count(*) AS total
MATCH (m:Model)<-[:OF_MODEL]-(c:Circuit)-[:HAS]->(n:Node)-[:FEEDS]-(:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH total, m.n_layers AS layers, n.kind AS kind, n.layer AS layer, count(*) AS edge_ends
RETURN kind, layer, 1 - (layers - layer - 0.5) / layers AS depth, edge_ends, 1.0 * edge_ends / total AS share
ORDER BY coalesce(layer, 1000), kind
