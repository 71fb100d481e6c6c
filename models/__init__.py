"""Data to model, free of ROS: datasets, ensembles, training, export, bundles."""
