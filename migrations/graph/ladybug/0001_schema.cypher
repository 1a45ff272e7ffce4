// The graph of circuits; scores are float32 values kept as DOUBLE, so that both engines reckon alike.

CREATE NODE TABLE Model(
    id STRING, name STRING, n_layers INT64, n_heads INT64, d_model INT64, n_classes INT64, PRIMARY KEY (id)
);
CREATE NODE TABLE Dataset(name STRING, PRIMARY KEY (name));
CREATE NODE TABLE Class(key STRING, name STRING, class_index INT64, tags STRING, PRIMARY KEY (key));
CREATE NODE TABLE Condition(key STRING, name STRING, attack STRING, version INT64, PRIMARY KEY (key));
CREATE NODE TABLE Recipe(
    key STRING, name STRING, method STRING, form STRING, metric STRING, direction STRING, corruption STRING,
    signed BOOL, dtype STRING, seed INT64, PRIMARY KEY (key)
);
CREATE NODE TABLE Component(
    key STRING, name STRING, kind STRING, layer INT64, head INT64, PRIMARY KEY (key)
);
CREATE NODE TABLE Node(
    key STRING, name STRING, kind STRING, layer INT64, head INT64, full_in DOUBLE, full_out DOUBLE, PRIMARY KEY (key)
);
CREATE NODE TABLE Circuit(
    id STRING, model STRING, dataset STRING, class STRING, class_index INT64, attack STRING, condition STRING,
    method STRING, form STRING, corruption STRING, metric STRING, direction STRING, extraction STRING,
    size_requested INT64, n_nodes INT64, n_edges INT64, n_images INT64, n_eval INT64,
    metric_full DOUBLE, metric_empty DOUBLE, metric_circuit DOUBLE, faithfulness DOUBLE, faithfulness_random DOUBLE,
    accuracy_full DOUBLE, accuracy_empty DOUBLE, accuracy_circuit DOUBLE, retention DOUBLE,
    seed INT64, sha256 STRING, created_ms INT64, PRIMARY KEY (id)
);

CREATE REL TABLE PART_OF(FROM Component TO Model, MANY_ONE);
CREATE REL TABLE OF_DATASET(FROM Class TO Dataset, MANY_ONE);
CREATE REL TABLE OF_MODEL(FROM Circuit TO Model, MANY_ONE);
CREATE REL TABLE OF_CLASS(FROM Circuit TO Class, MANY_ONE);
CREATE REL TABLE UNDER(FROM Circuit TO Condition, MANY_ONE);
CREATE REL TABLE FOUND_BY(FROM Circuit TO Recipe, MANY_ONE);
CREATE REL TABLE HAS(FROM Circuit TO Node, ONE_MANY);
CREATE REL TABLE INSTANCE_OF(FROM Node TO Component, MANY_ONE);
CREATE REL TABLE FEEDS(
    FROM Node TO Node, edge STRING, port STRING, score DOUBLE, std DOUBLE, rank INT64, frequency DOUBLE
);
CREATE REL TABLE CONTAINS(FROM Node TO Node);

CREATE NODE TABLE Store(id STRING, schema INT64, lease_owner STRING, lease_until_ms INT64, PRIMARY KEY (id));
CREATE NODE TABLE Migration(version INT64, name STRING, checksum STRING, PRIMARY KEY (version));
