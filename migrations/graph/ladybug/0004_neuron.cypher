// Of nodes and components: the index of a neuron among those of its MLP. Circuits were over no neurons before.

ALTER TABLE Node ADD neuron INT64;
ALTER TABLE Component ADD neuron INT64;
