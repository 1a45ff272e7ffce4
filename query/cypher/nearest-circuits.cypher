// The circuits nearest to a circuit by a measure of similarity, as circuitstore similar stored them.
//
// Parameters:
//   circuit: circuit; id of the circuit, or the beginning of it
//   measure: string = "jaccard"; measure of similarity
// Columns:
//   model: name of the model
//   dataset: name of the data set
//   class: name of the class
//   image_group: group of the images; empty for images that are not divided into groups
//   condition: what was done to the images
//   corruption: what the clean run is contrasted with
//   value: the measure
//   noise_floor: the measure between halves of the images of one circuit; missing if it is unknown
//   chance: the measure for random sets of the same numbers of edges; missing if it is unknown
//   mutual: whether the circuit is also among the nearest of the other one
//   id: id of the other circuit

MATCH (a:Circuit)-[s:SIMILAR]->(c:Circuit)
WHERE a.id = $circuit AND s.measure = $measure
RETURN c.model AS model, c.model_id AS model_id, c.dataset AS dataset, c.class AS class, c.image_group AS image_group,
  c.condition AS condition, c.corruption AS corruption, s.value AS value, s.floor AS noise_floor, s.chance AS chance,
  COUNT { MATCH (c)-[t:SIMILAR]->(a) WHERE t.measure = $measure } > 0 AS mutual, c.id AS id
ORDER BY value DESC, id
