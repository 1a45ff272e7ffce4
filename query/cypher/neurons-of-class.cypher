// The neurons on the paths of a class, layer by layer, in all studies of neuron paths.
//
// Parameters:
//   class: string; name of the class
// Columns:
//   dataset: name of the data set
//   model: name of the model
//   image_group: group of the images; empty for images that are not divided into groups
//   condition: what was done to the images
//   method: how the paths were found
//   layer: layer of the MLP, counted from 0
//   neuron: name of the neuron
//   share: share of the images whose path it is on
//   circuit: id of the path of the class

MATCH (c:Circuit)-[:HAS]->(n:Node)-[f:FEEDS]->(:Node)
WHERE c.class = $class AND c.id IN $circuits AND n.kind = 'neuron'
RETURN c.dataset AS dataset, c.model AS model, c.model_id AS model_id, c.image_group AS image_group,
  c.condition AS condition, c.method AS method, n.layer AS layer, n.name AS neuron, f.score AS share, c.id AS circuit
ORDER BY dataset, model, model_id, image_group, condition, method, circuit, layer, share DESC, neuron
