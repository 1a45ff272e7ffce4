// Inflow and outflow of a circuit's components along its edges, and along all edges of the graph.
// With a method that conserves flow (conductance), the full inflow of a component equals its full outflow, in the limit
// of many steps; in the form `attention`, that of a layer's input equals the full outflow of its heads.
//
// Parameters:
//   circuit: circuit; id of the circuit, or the beginning of it
// Columns:
//   node: name of the component
//   kind: head, mlp, attention …
//   inflow: sum of the scores of its incoming edges in the circuit
//   full_in: the same over all edges of the graph
//   covered_in: inflow as a share of full_in
//   outflow: sum of the scores of its outgoing edges in the circuit
//   full_out: the same over all edges of the graph
//   covered_out: outflow as a share of full_out

MATCH (:Circuit {id: $circuit})-[:HAS]->(n:Node)
OPTIONAL MATCH (:Node)-[f:FEEDS]->(n)
WITH n, coalesce(sum(f.score), 0.0) AS inflow
OPTIONAL MATCH (n)-[g:FEEDS]->(:Node)
WITH n, inflow, coalesce(sum(g.score), 0.0) AS outflow
RETURN n.name AS node, n.kind AS kind,
  inflow, n.full_in AS full_in, CASE WHEN n.full_in = 0 THEN NULL ELSE inflow / n.full_in END AS covered_in,
  outflow, n.full_out AS full_out, CASE WHEN n.full_out = 0 THEN NULL ELSE outflow / n.full_out END AS covered_out
ORDER BY node
