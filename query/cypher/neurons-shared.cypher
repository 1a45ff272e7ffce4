// Neurons on the paths of classes, those of most classes first.
//
// Parameters:
//   condition: string = "natural"; what was done to the images
//   limit: integer = 20; how many
// Columns:
//   dataset: name of the data set
//   model: name of the model
//   image_group: group of the images; empty for images that are not divided into groups
//   method: how the paths were found
//   layer: layer of the MLP, counted from 0
//   neuron: name of the neuron
//   classes: number of classes on whose path it is
//   share: mean over these classes of the share of the images whose path it is on

MATCH (c:Circuit)-[:HAS]->(n:Node)-[f:FEEDS]->(:Node)
WHERE c.condition = $condition AND c.id IN $circuits AND n.kind = 'neuron'
RETURN c.dataset AS dataset, c.model AS model, c.model_id AS model_id, c.image_group AS image_group,
  c.method AS method, n.layer AS layer, n.name AS neuron, count(DISTINCT c.class) AS classes, avg(f.score) AS share
ORDER BY classes DESC, share DESC, dataset, model, model_id, image_group, method, layer, neuron
LIMIT $limit
