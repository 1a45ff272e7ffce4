// The graph of circuits. Every statement may be run again: the schema and its record are no single transaction.

CREATE CONSTRAINT circuitstore_store IF NOT EXISTS FOR (s:Store) REQUIRE s.singleton IS UNIQUE;
CREATE CONSTRAINT circuitstore_migration IF NOT EXISTS FOR (m:Migration) REQUIRE m.version IS UNIQUE;

CREATE CONSTRAINT circuitstore_model IF NOT EXISTS FOR (m:Model) REQUIRE m.id IS UNIQUE;
CREATE CONSTRAINT circuitstore_dataset IF NOT EXISTS FOR (d:Dataset) REQUIRE d.name IS UNIQUE;
CREATE CONSTRAINT circuitstore_class IF NOT EXISTS FOR (k:Class) REQUIRE k.key IS UNIQUE;
CREATE CONSTRAINT circuitstore_condition IF NOT EXISTS FOR (u:Condition) REQUIRE u.key IS UNIQUE;
CREATE CONSTRAINT circuitstore_recipe IF NOT EXISTS FOR (r:Recipe) REQUIRE r.key IS UNIQUE;
CREATE CONSTRAINT circuitstore_component IF NOT EXISTS FOR (k:Component) REQUIRE k.key IS UNIQUE;
CREATE CONSTRAINT circuitstore_circuit IF NOT EXISTS FOR (c:Circuit) REQUIRE c.id IS UNIQUE;
CREATE CONSTRAINT circuitstore_node IF NOT EXISTS FOR (n:Node) REQUIRE n.key IS UNIQUE;

CREATE INDEX circuitstore_feeds_edge IF NOT EXISTS FOR ()-[f:FEEDS]-() ON (f.edge);
