// The circuits of edges that run through the MLP of a neuron, which must be on a path in the store.
//
// Parameters:
//   neuron: string; name of the neuron, such as m3.n170
//   condition: string = "natural"; what was done to the images
// Columns:
//   circuit: id of the circuit
//   dataset: name of the data set
//   model: name of the model
//   class: name of the class
//   form: form of the graph
//   method: discovery method
//   extraction: how it was extracted from the scores
//   mlp: name of the MLP
//   edges: number of the circuit's edges out of the MLP
//   score: sum of their scores
//   on_path: whether the neuron is on the path of this class, too

MATCH (p:Circuit)-[:HAS]->(x:Node)-[:CONTAINS]->(n:Node)
WHERE n.name = $neuron AND p.condition = $condition AND p.id IN $circuits
WITH x.name AS mlp, p.model_id AS of_model, collect(DISTINCT p.class) AS classes
MATCH (c:Circuit)-[:HAS]->(m:Node)-[f:FEEDS]->(:Node)
WHERE m.name = mlp AND c.model_id = of_model AND c.condition = $condition AND c.id IN $circuits
WITH c, mlp, classes, count(*) AS edges, sum(f.score) AS score
RETURN c.id AS circuit, c.dataset AS dataset, c.model AS model, c.model_id AS model_id, c.class AS class, c.form AS form,
  c.method AS method, c.extraction AS extraction, mlp, edges, score, c.class IN classes AS on_path
ORDER BY dataset, model, model_id, class, form, method, extraction, circuit
