"""Read-outs, one file each: what a model's runs show layer by layer, head by head and patch by patch."""
