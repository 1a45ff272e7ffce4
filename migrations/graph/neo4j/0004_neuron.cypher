// Of nodes and components: the index of a neuron among those of its MLP. Circuits were over no neurons before, and what
// is null is no property here: the step is only recorded.

RETURN 1;
