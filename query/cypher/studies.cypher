// The studies and conditions in the store, by the names that other queries take as parameters.
//
// Parameters: none
// Columns:
//   model: name of the model
//   dataset: name of the data set
//   image_group: group of the images; empty for images that are not divided into groups
//   form: form of the graph
//   method: discovery method with parameters
//   metric: metric of the scores
//   direction: noising or denoising
//   corruption: what the clean run is contrasted with
//   extraction: how circuits were extracted from scores
//   condition: what was done to the images
//   circuits: number of circuits
//   classes: number of classes
//   flagged: number of flagged circuits: of all edges, of no edge, or from few images

UNWIND $circuits AS id
MATCH (c:Circuit {id: id})
RETURN min(c.model) AS model, c.model_id AS model_id, c.dataset AS dataset, c.image_group AS image_group,
  c.form AS form, c.method AS method,
  c.metric AS metric, c.direction AS direction, c.corruption AS corruption, c.extraction AS extraction,
  c.condition AS condition,
  count(*) AS circuits, count(DISTINCT c.class) AS classes, sum(CASE WHEN c.flag = '' THEN 0 ELSE 1 END) AS flagged
ORDER BY model, model_id, dataset, image_group, form, method, metric, direction, corruption, extraction, condition
